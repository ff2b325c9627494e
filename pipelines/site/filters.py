"""The filters of the pages: which column of which rows each narrows.

Rows are named by targets: `leads` and `deals` by their own values, `lead_deals` the deals by those
of their lead, `stages` the visits to stages by the stage, `stages_leads` and `stages_deals` by the
lead or deal that came there, `lead_ages_leads` the ages of leads by the lead, `lead_sales` the
leads by their sales, where a metric counts those, `ad_costs` what was spent, `issues` and
`reversals` what the page of data quality tells, `bridge_leads` and `bridge_deals` the records of
the bridge to the portal's figures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import duckdb

from pipelines.metric_sql import SemanticLayer

OPTIONS = 1000
BRIDGE = ("bridge_leads", "bridge_deals")
UTM = tuple(f"utm_{label}" for label in ("source", "medium", "campaign", "content", "term"))


@dataclass(frozen=True)
class Filter:
    """A filter of the pages.

    Attributes:
        name: In the address.
        columns: Target → dimension of its semantic model, or column of its fact. Of costs that the
            filter cannot narrow none are left while it is chosen: a price of all would be wrong.
        of_lead: Column of leads by which the filter narrows deals, where deals have it not.
        options: SQL of the values that a filter of other rows offers: `value`, and maybe
            `label_ru`, `label_en`. Only pages that name such a filter have it.
        stages_of: Its values are stages of leads or deals and stand in the order of the funnel.
        of_sales: Dimension of deals by which the filter narrows the sales of leads.
    """

    name: str
    columns: dict[str, str] = field(default_factory=dict)
    of_lead: str | None = None
    options: str | None = None
    stages_of: str | None = None
    of_sales: str | None = None


def _own(name: str, column: str, lead_deals: bool = True, also: tuple[str, ...] = ()) -> Filter:
    """Leads and deals by a column that both have."""
    both = dict.fromkeys(("leads", "deals", "stages_leads", "stages_deals", *also), column)
    return Filter(name, both | ({"lead_deals": f"lead_{column}"} if lead_deals else {}))


def _codes(name: str, columns: dict[str, str], *codes: str) -> Filter:
    """Rows of other tables by codes, in this order."""
    return Filter(name, columns, options=f"select unnest({list(codes)}) as value")


FILTERS = (
    Filter(
        "pipeline",
        {"deals": "pipeline_name", "stages": "pipeline_name", "bridge_deals": "pipeline_name"},
        of_sales="pipeline_name",
    ),
    _own("manager", "manager_name", also=("issues", "reversals", *BRIDGE)),
    _own("source", "source_name", also=("ad_costs", *BRIDGE)),
    _own("city", "city"),
    _own("department", "department_name", lead_deals=False),
    Filter("deal_stage", {"deals": "pipeline_stage_name"}, stages_of="deal"),
    Filter("state", {"deals": "state", "stages_deals": "state"}),
    Filter(
        "lead_stage",
        {"leads": "stage_name", "stages_leads": "stage_name"},
        of_lead="stage_name",
        stages_of="lead",
    ),
    Filter("lead_state", {"leads": "state", "stages_leads": "state"}, of_lead="state"),
    *(_own(label, label, also=("ad_costs",)) for label in UTM),
    Filter(
        "lead_source",
        {"deals": "lead_source_name", "leads": "source_name", "ad_costs": "source_name"},
    ),
    *(
        Filter(f"lead_{label}", {"deals": f"lead_{label}", "leads": label, "ad_costs": label})
        for label in UTM
    ),
    Filter(
        "issue_kind",
        {"issues": "kind"},
        options="select kind as value, label_ru, label_en from quality.issue_kinds"
        " where kind in (select kind from quality.issues) order by sort_order",
    ),
    _codes("success_like", {"deals": "is_on_success_like_stage"}, "false", "true"),
    _codes("severity", {"issues": "severity"}, "error", "warning", "info"),
    Filter(
        "issue_entity",
        {"issues": "entity", "reversals": "entity"},
        options="select entity as value from (select entity from quality.issues"
        " union all select entity from marts.fct_reversals) group by entity order by count(*) desc",
    ),
    Filter(
        "reversal",
        {"reversals": "kind"},
        options="select kind as value from marts.fct_reversals group by kind"
        " order by count(*) desc, kind",
    ),
    _codes(
        "bridge_line",
        {"bridge_lines": "line"},
        *("ours", "backlog", "legacy", "other_pipeline", "template", "deleted"),
    ),
    _codes(
        "bridge_success",
        {"bridge_success_lines": "success_line"},
        *("ours", "ours_only", "portal_only", "legacy", "other_pipeline"),
    ),
)
# The leads whose ages are asked for: narrowed as leads are.
AGES_OF_LEADS = "lead_ages_leads"
# The semantic model whose rows a target narrows; the other targets are tables.
MODELS = {
    "leads": "leads",
    "deals": "deals",
    "lead_deals": "deals",
    "stages": "stages",
    "stages_leads": "leads",
    "stages_deals": "deals",
    "ad_costs": "ad_costs",
}


def described(
    connection: duckdb.DuckDBPyConnection, layer: SemanticLayer, language: str
) -> list[dict[str, Any]]:
    """The filters as `meta.json` holds them, with the values that they offer, the most frequent
    first; one with nothing to choose from is left out.

    Args:
        connection: Has the tables of the site.
    """
    found: list[dict[str, Any]] = []
    for one in FILTERS:
        columns: dict[str, Any] = {
            target: _sql(layer, target, column) for target, column in one.columns.items()
        }
        if columns.keys() & {"leads", "deals"}:
            columns.setdefault("ad_costs", None)
        if one.options:
            found.append(
                {
                    "name": one.name,
                    "columns": columns,
                    "dimensions": [],
                    "where_named": True,
                    "options": _options(connection, one.options, language),
                }
            )
            continue
        values = _values(connection, columns)
        if len(values) < 2:
            continue
        if one.stages_of:
            values = _in_funnel_order(connection, one.stages_of, values)
        if one.of_sales:
            columns["lead_sales"] = _of_sales(layer, one.of_sales)
        if one.of_lead:
            columns["lead_deals"] = {
                "id": "lead_id",
                "of": f"select lead_id as id, {one.of_lead} as value from marts.fct_leads"
                " where is_counted",
            }
        found.append(
            {
                "name": one.name,
                "columns": columns,
                "dimensions": _dimensions(one),
                "options": [{"value": value} for value in values],
                **({"ordered": True} if one.stages_of else {}),
                **({"cut": True} if len(values) == OPTIONS else {}),
            }
        )
    found += _user_fields(connection)
    for narrowed in (described["columns"] for described in found):
        if "leads" in narrowed:
            narrowed[AGES_OF_LEADS] = narrowed["leads"]
    return found


def columns(layer: SemanticLayer) -> list[str]:
    """SQL of all that the filters look at."""
    found = [one.of_lead for one in FILTERS if one.of_lead]
    found += [_of_sales(layer, one.of_sales)["of"] for one in FILTERS if one.of_sales]
    for one in FILTERS:
        found += [_sql(layer, target, column) for target, column in one.columns.items()]
    return found


def _sql(layer: SemanticLayer, target: str, column: str) -> str:
    if target not in MODELS:
        return column
    return layer.column(MODELS[target], column)


def _of_sales(layer: SemanticLayer, dimension: str) -> dict[str, Any]:
    """Leads by a dimension of their sales: one of several such sales is enough, also where a value
    is left out."""
    column = layer.column("deals", dimension)
    sales = "from marts.fct_deals where is_counted and is_sale"
    return {"id": "lead_id", "of": f"select lead_id as id, {column} as value {sales}", "each": True}


def _dimensions(one: Filter) -> list[str]:
    """Breakdowns by which a click on a row sets the filter."""
    names = []
    for target, column in one.columns.items():
        if target not in MODELS:
            continue
        if target == "ad_costs":
            names.append(f"touch_{column.removesuffix('_name')}")
            continue
        entity = MODELS[target].removesuffix("s")
        names += [column, f"{entity}__{column}"]
    return list(dict.fromkeys(names))


def _values(connection: duckdb.DuckDBPyConnection, columns: dict[str, str]) -> list[str]:
    parts = [
        f"select {columns[target]} as value from marts.fct_{target} where is_counted"
        for target in ("leads", "deals")
        if target in columns
    ]
    rows = connection.execute(
        f"select coalesce(value, '') from ({' union all '.join(parts)}) group by value"
        f" order by count(*) desc, value limit {OPTIONS}"
    ).fetchall()
    return [row[0] for row in rows]


def _options(
    connection: duckdb.DuckDBPyConnection, sql: str, language: str
) -> list[dict[str, Any]]:
    rows = connection.sql(sql).to_arrow_table().to_pylist()
    label = f"label_{language}"
    return [
        {"value": row["value"]} | ({"label": row[label]} if row.get(label) else {}) for row in rows
    ]


def _in_funnel_order(
    connection: duckdb.DuckDBPyConnection, entity: str, values: list[str]
) -> list[str]:
    """Stages by their pipeline and their place in it; those that are no stage stand last."""
    named = {"deal": "pipeline_name || ' / ' || stage_name", "lead": "stage_name"}[entity]
    rows = connection.execute(
        f"select {named} from marts.dim_stages where entity = ?"
        " order by pipeline_id, sort_order nulls last, stage_id",
        [entity],
    ).fetchall()
    places = {name: place for place, (name,) in enumerate(rows)}
    return sorted(values, key=lambda value: places.get(value, len(places)))


def _user_fields(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """A filter for each user field that the settings name: leads by the lead's values, deals by the
    deal's."""
    rows = connection.execute(
        "select field_name, any_value(field_label), list(distinct entity order by entity),"
        " max(value_number) > 1"
        " from marts.fct_user_field_values group by field_name order by field_name"
    ).fetchall()
    found = []
    for name, label, entities, has_several in rows:
        columns: dict[str, Any] = {}
        for entity in entities:
            column = {
                "id": f"{entity}_id",
                "of": "select item_id as id, field_value as value"
                f" from marts.fct_user_field_values where entity = '{entity}'"
                f" and field_name = '{name}'",
            }
            columns |= {f"{entity}s": column, f"stages_{entity}s": column, "ad_costs": None}
            if entity == "lead":
                columns["lead_deals"] = column
        values = connection.execute(
            "select field_value from marts.fct_user_field_values where field_name = ?"
            f" group by field_value order by count(*) desc, field_value limit {OPTIONS}",
            [name],
        ).fetchall()
        found.append(
            {
                "name": name,
                "label": label,
                "user_field": True,
                **({"several": True} if has_several else {}),
                "columns": columns,
                "dimensions": [f"{entity}__{name.lower()}" for entity in entities],
                "options": [{"value": value} for (value,) in [*values, ("",)]],
            }
        )
    return found
