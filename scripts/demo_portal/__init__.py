"""A loopback server that speaks Bitrix24's REST over a data directory.

``python -m scripts.demo_portal DATA_DIR --port 8024`` prints the address of a webhook and serves
until it is stopped; in Python::

    with serve("data/demo_portal", rate_limit=False) as portal:
        requests.get(portal.webhook_url + "server.time").json()
        portal.upsert("leads", {"id": 5, "stageId": "JUNK"})

``upsert``, ``delete``, ``replace``, ``set_now`` and ``set_rights`` change the portal while it is
served. ``create``, ``change`` and ``move`` are what people do to leads and deals, ``merge`` to
contacts and companies.

``inject`` adds random faults that can be repeated and are counted; ``FAULTS`` lists them, and
``python -m scripts.demo_portal DATA_DIR --fault http_502 --fault short_page --seed 7`` makes them
happen in one of ten requests::

    portal.inject(Fault("http_502", times=3), Fault("short_page", chance=0.2), seed=7)
    portal.faults.counts["http_502"]
    portal.faults.clear()

What it does like Bitrix24: pages of 50 with ``next`` and ``total``, ``start=-1``, all filter
prefixes, ``select``, ``order``, ``batch`` with ``$result[...]`` and ``halt``, value formats of each
method family, error bodies and statuses, the request bucket (503) and the operating-time limit
(429), the rotating tokens of an application instead of the webhook (``oauth``), stage history and
activities that are deleted with their deal, links that follow a merged or deleted contact without a
time of change, pipelines and deals hidden from the caller. Facts come from apidocs.bitrix24.com.

Where it differs, or the documentation leaves a choice:

- the authorisation server is on the portal's own address, not on oauth.bitrix.info;
- webhooks answer over plain HTTP (``require_https`` brings the cloud's refusal back);
- ``select`` of ``crm.item.list`` returns the named fields only, so ``id`` has to be named; the
  upper-case lists add ``ID`` by themselves, as their documented samples show;
- a ``$result`` reference that does not resolve becomes an empty value, so ``>id`` becomes ``>0``;
- an unknown filter field of an upper-case list is ignored, an invalid date finds nothing;
- ``=`` and ``@`` compare text by case, the LIKE prefixes ignore case;
- the offset of the portal is fixed: no daylight saving.
"""

from scripts.demo_portal.faults import FAULTS, Fault, FaultyPortal
from scripts.demo_portal.messages import HttpAnswer, HttpRequest
from scripts.demo_portal.portal import Options, Portal
from scripts.demo_portal.server import serve
from scripts.demo_portal.values import DataError

__all__ = [
    "FAULTS",
    "DataError",
    "Fault",
    "FaultyPortal",
    "HttpAnswer",
    "HttpRequest",
    "Options",
    "Portal",
    "serve",
]
