"""Two public clients that we did not write read the Olist set from the portal, row for row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from b24pysdk import BitrixWebhook, Client
from fast_bitrix24 import Bitrix

from scripts.demo_portal import Portal, serve


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def leads(olist_dir: Path) -> dict[int, dict[str, Any]]:
    rows = {row["id"]: row for row in rows_of(olist_dir / "portal" / "leads.jsonl")}
    assert len(rows) == 8000
    return rows


@pytest.fixture(scope="module")
def deals(olist_dir: Path) -> dict[int, dict[str, Any]]:
    rows = {row["id"]: row for row in rows_of(olist_dir / "portal" / "deals.jsonl")}
    assert len(rows) == 842
    return rows


@pytest.fixture(scope="module")
def http_portal(olist_dir: Path) -> Iterator[Portal]:
    with serve(olist_dir / "portal", rate_limit=True, operating_limit=True) as portal:
        yield portal


@pytest.fixture(scope="module")
def https_portal(olist_dir: Path) -> Iterator[Portal]:
    with serve(olist_dir / "portal", tls=True, rate_limit=True) as portal:
        yield portal


@pytest.fixture
def official_client(https_portal: Portal, monkeypatch: pytest.MonkeyPatch) -> Client:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(https_portal.ca_file))
    domain = https_portal.webhook_url.split("/")[2]
    return Client(BitrixWebhook(domain=domain, webhook_token="1/demo-portal-token"))


def get_all(portal: Portal, method: str, params: dict[str, Any] | None = None) -> Any:
    """All rows of a list by fast_bitrix24.

    In a separate thread: Playwright leaves a loop running in the tests' thread, and then the
    client returns a task instead of the rows.
    """
    client = Bitrix(portal.webhook_url, verbose=False)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(client.get_all, method, params).result()


def same_items(received: list[dict[str, Any]], sent: dict[int, dict[str, Any]]) -> None:
    """Every field that the data file has came back with the same value; no row lost or added."""
    by_id = {int(row["id"]): row for row in received}
    assert len(received) == len(by_id)
    assert by_id.keys() == sent.keys()
    for number, row in sent.items():
        got = by_id[number]
        assert {name: got[name] for name in row} == row


def same_legacy(received: list[dict[str, Any]], sent: dict[int, dict[str, Any]]) -> None:
    """The upper-case lists: the same titles, stages, amounts and times as strings."""
    assert sorted(int(row["ID"]) for row in received) == sorted(sent)
    for row in received:
        source = sent[int(row["ID"])]
        assert row["TITLE"] == source["title"]
        assert row.get("STAGE_ID", row.get("STATUS_ID")) == source["stageId"]
        assert row["OPPORTUNITY"] == f"{source['opportunity']:.2f}"
        assert row["DATE_CREATE"] == source["createdTime"]


def test_fast_bitrix24_items(
    http_portal: Portal, leads: dict[int, Any], deals: dict[int, Any]
) -> None:
    for type_id, sent in ((1, leads), (2, deals)):
        params = {"entityTypeId": type_id, "useOriginalUfNames": "Y"}
        same_items(get_all(http_portal, "crm.item.list", params), sent)


def test_fast_bitrix24_upper_case(
    http_portal: Portal, leads: dict[int, Any], deals: dict[int, Any]
) -> None:
    same_legacy(get_all(http_portal, "crm.lead.list"), leads)
    same_legacy(get_all(http_portal, "crm.deal.list"), deals)


def test_fast_bitrix24_stage_history(http_portal: Portal, olist_dir: Path) -> None:
    for type_id, name in ((1, "lead_stage_history"), (2, "deal_stage_history")):
        sent = rows_of(olist_dir / "portal" / f"{name}.jsonl")
        received = get_all(http_portal, "crm.stagehistory.list", {"entityTypeId": type_id})
        assert sorted(received, key=lambda row: row["ID"]) == sent


@pytest.mark.parametrize("fast", [False, True], ids=["by total", "by chained batches"])
def test_b24pysdk_items(
    official_client: Client, leads: dict[int, Any], deals: dict[int, Any], fast: bool
) -> None:
    for type_id, sent in ((1, leads), (2, deals)):
        request = official_client.crm.item.list(
            entity_type_id=type_id, use_original_uf_names=True, select=["*"]
        )
        received = list(request.as_list_fast().result) if fast else request.as_list().result
        same_items(received, sent)


@pytest.mark.parametrize("fast", [False, True], ids=["by total", "by chained batches"])
def test_b24pysdk_upper_case(
    official_client: Client, leads: dict[int, Any], deals: dict[int, Any], fast: bool
) -> None:
    methods = ((official_client.crm.lead, leads), (official_client.crm.deal, deals))
    for scope, sent in methods:
        request = scope.list(select=["*", "UF_*"])
        received = list(request.as_list_fast().result) if fast else request.as_list().result
        same_legacy(received, sent)
