"""Field catalogue of the CRM entity types that the portal serves, and the names of user fields.

Sources: apidocs.bitrix24.com, "CRM object fields" (names and types in ``crm.item.*``),
``crm.{lead,deal,contact,company}.fields`` (names, types and flags in the upper-case methods) and
"Universal CRM methods" (conversion of user-field names).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

LEAD, DEAL, CONTACT, COMPANY = 1, 2, 3, 4


@dataclass(frozen=True)
class Field:
    """A system field.

    Attributes:
        name: name in ``crm.item.*`` ("" where only the upper-case methods have the field).
        legacy: name in ``crm.lead.list`` and the like ("" where only ``crm.item.*`` has it).
        type: type as ``crm.item.fields`` tells it.
        flags: ``r`` read-only, ``i`` immutable, ``m`` multiple, ``x`` deprecated.
        status_type: ``ENTITY_ID`` of the reference data of a ``crm_status`` field.
    """

    name: str
    legacy: str
    type: str
    flags: str = ""
    status_type: str = ""

    @property
    def upper_name(self) -> str:
        """``upperName`` of ``crm.item.fields``: createdTime is CREATED_TIME, not DATE_CREATE."""
        return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", self.name).upper()


def _parse(table: str) -> list[Field]:
    fields = []
    for line in table.split("\n"):
        words = line.split()
        if words:
            name, legacy, kind = words[:3]
            flags = words[3].strip(".") if len(words) > 3 else ""
            status_type = words[4] if len(words) > 4 else ""
            fields.append(Field(name.strip("-"), legacy.strip("-"), kind, flags, status_type))
    return fields


_COMMON = """
    id                 ID                  integer r
    createdTime        DATE_CREATE         datetime r
    updatedTime        DATE_MODIFY         datetime r
    createdBy          CREATED_BY_ID       user r
    updatedBy          MODIFY_BY_ID        user r
    assignedById       ASSIGNED_BY_ID      user
    opened             OPENED              boolean
    comments           COMMENTS            text
    originatorId       ORIGINATOR_ID       string
    originId           ORIGIN_ID           string
    webformId          -                   integer
    lastActivityBy     LAST_ACTIVITY_BY    user r
    lastActivityTime   LAST_ACTIVITY_TIME  datetime r
    utmSource          UTM_SOURCE          string
    utmMedium          UTM_MEDIUM          string
    utmCampaign        UTM_CAMPAIGN        string
    utmContent         UTM_CONTENT         string
    utmTerm            UTM_TERM            string
    observers          -                   user m
"""
_MULTIFIELDS = """
    hasPhone           HAS_PHONE           boolean r
    hasEmail           HAS_EMAIL           boolean r
    hasImol            HAS_IMOL            boolean r
    -                  PHONE               crm_multifield m
    -                  EMAIL               crm_multifield m
    -                  WEB                 crm_multifield m
    -                  IM                  crm_multifield m
    -                  LINK                crm_multifield m
"""
_ADDRESS = """
    -                  ADDRESS             string
    -                  ADDRESS_2           string
    -                  ADDRESS_CITY        string
    -                  ADDRESS_POSTAL_CODE string
    -                  ADDRESS_REGION      string
    -                  ADDRESS_PROVINCE    string
    -                  ADDRESS_COUNTRY     string
    -                  ADDRESS_COUNTRY_CODE string
    -                  ADDRESS_LOC_ADDR_ID integer
"""
_STAGE = """
    stageSemanticId    STAGE_SEMANTIC_ID   string r
    movedBy            MOVED_BY_ID         user r
    movedTime          MOVED_TIME          datetime r
    sourceId           SOURCE_ID           crm_status . SOURCE
    sourceDescription  SOURCE_DESCRIPTION  text
    currencyId         CURRENCY_ID         crm_currency
    opportunity        OPPORTUNITY         double
    isManualOpportunity IS_MANUAL_OPPORTUNITY boolean
    companyId          COMPANY_ID          crm_company
    contactId          CONTACT_ID          crm_contact x
    contactIds         CONTACT_IDS         crm_contact m
    title              TITLE               string
"""
_PERSON = """
    name               NAME                string
    secondName         SECOND_NAME         string
    lastName           LAST_NAME           string
    honorific          HONORIFIC           crm_status . HONORIFIC
    birthdate          BIRTHDATE           date
    post               POST                string
"""

SYSTEM_FIELDS: dict[int, list[Field]] = {
    LEAD: _parse(
        _COMMON
        + _STAGE.replace("STAGE_SEMANTIC_ID", "STATUS_SEMANTIC_ID")
        + _PERSON
        + _MULTIFIELDS
        + _ADDRESS
        + """
    stageId            STATUS_ID           crm_status . STATUS
    statusDescription  STATUS_DESCRIPTION  text
    companyTitle       COMPANY_TITLE       string
    dateClosed         DATE_CLOSED         datetime r
    isReturnCustomer   IS_RETURN_CUSTOMER  boolean r
"""
    ),
    DEAL: _parse(
        _COMMON
        + _STAGE
        + """
    typeId             TYPE_ID             crm_status . DEAL_TYPE
    categoryId         CATEGORY_ID         crm_category i
    stageId            STAGE_ID            crm_status . DEAL_STAGE
    isNew              IS_NEW              boolean r
    isRecurring        IS_RECURRING        boolean
    isReturnCustomer   IS_RETURN_CUSTOMER  boolean
    isRepeatedApproach IS_REPEATED_APPROACH boolean
    closed             CLOSED              boolean
    probability        PROBABILITY         integer
    taxValue           TAX_VALUE           double
    quoteId            QUOTE_ID            crm_quote r
    leadId             LEAD_ID             crm_lead r
    begindate          BEGINDATE           date
    closedate          CLOSEDATE           date
    additionalInfo     ADDITIONAL_INFO     string
    locationId         LOCATION_ID         location
"""
    ),
    CONTACT: _parse(
        _COMMON
        + _PERSON
        + _MULTIFIELDS
        + _ADDRESS
        + """
    photo              PHOTO               file
    typeId             TYPE_ID             crm_status . CONTACT_TYPE
    sourceId           SOURCE_ID           crm_status . SOURCE
    sourceDescription  SOURCE_DESCRIPTION  text
    companyId          COMPANY_ID          crm_company x
    companyIds         COMPANY_IDS         crm_company m
    leadId             LEAD_ID             crm_lead r
    export             EXPORT              boolean
    originVersion      ORIGIN_VERSION      string
    categoryId         -                   crm_category i
"""
    ),
    COMPANY: _parse(
        _COMMON
        + _MULTIFIELDS
        + _ADDRESS
        + """
    title              TITLE               string
    logo               LOGO                file
    typeId             COMPANY_TYPE        crm_status . COMPANY_TYPE
    industry           INDUSTRY            crm_status . INDUSTRY
    employees          EMPLOYEES           crm_status . EMPLOYEES
    revenue            REVENUE             double
    currencyId         CURRENCY_ID         crm_currency
    bankingDetails     BANKING_DETAILS     string
    leadId             LEAD_ID             crm_lead r
    isMyCompany        IS_MY_COMPANY       boolean
    originVersion      ORIGIN_VERSION      string
    contactIds         CONTACT_ID          crm_contact m
    categoryId         -                   crm_category i
"""
    ),
}

MULTIFIELD_TYPES = ("PHONE", "EMAIL", "WEB", "IM", "LINK")

# crm.lead.fields and the like name some types otherwise than crm.item.fields.
_LEGACY_TYPES = {"boolean": "char", "text": "string"}


def system_field_info(field: Field, legacy: bool) -> dict[str, Any]:
    """One value of ``crm.item.fields`` (or, ``legacy``, of ``crm.deal.fields``): a description."""
    info: dict[str, Any] = {
        "type": _LEGACY_TYPES.get(field.type, field.type) if legacy else field.type,
        "isRequired": False,
        "isReadOnly": "r" in field.flags,
        "isImmutable": "i" in field.flags,
        "isMultiple": "m" in field.flags,
        "isDynamic": False,
    }
    if legacy and "x" in field.flags:
        info["isDeprecated"] = True
    if field.status_type:
        info["statusType"] = field.status_type
    info["title"] = field.legacy if legacy else field.name
    if not legacy:
        info["upperName"] = field.upper_name
    return info


def user_field_name(original: str) -> str:
    """``UF_CRM_3_DIGIT`` is ``ufCrm3Digit``; names that mix letters and digits keep their tail."""
    match = re.fullmatch(r"UF_CRM_(?:(\d+)_)?(.+)", original)
    if match is None:
        return original
    number, rest = match.groups()
    if number and rest.isdigit():
        return f"ufCrm{number}_{rest}"
    if not re.search(r"\d", rest):
        words = (word.capitalize() for word in rest.split("_"))
        return f"ufCrm{number or ''}{''.join(words)}"
    return "ufCrm_" + original.removeprefix("UF_CRM_")


def user_field_names(originals: list[str], taken: set[str]) -> dict[str, str]:
    """Original name to the name in ``crm.item.*``; a name already taken stays in upper case."""
    names: dict[str, str] = {}
    used = set(taken)
    for original in originals:
        name = user_field_name(original)
        names[original] = original if name in used else name
        used.add(names[original])
    return names
