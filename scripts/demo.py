"""`make demo`: a generated company on the demo portal, one refresh, the headline figures."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import duckdb

from pipelines.environment import ROOT
from scripts.demo_company import generate
from scripts.demo_portal import serve

DEMO = ROOT / "data" / "demo"

# A demo uses no portal, application or chat of the environment or of `.env`, which only fills in
# variables that are not set.
UNSET = (
    "BITRIX24_PORTAL",
    "BITRIX24_OAUTH_CLIENT_ID",
    "BITRIX24_OAUTH_CLIENT_SECRET",
    "BITRIX24_OAUTH_REFRESH_TOKEN",
    "BITRIX24_CHAT_WEBHOOK_URL",
    "BITRIX24_CHAT_ID",
    "TELEGRAM_BOT_TOKEN",
    "TELEGRAM_CHAT_ID",
    "NOTIFY",
)

HEADLINES = """
    with refreshes as (select * from quality.refreshes),
    leads as (select * from marts.fct_leads where is_counted),
    deals as (select * from marts.fct_deals where is_counted)
    select
        (select as_of_text from refreshes) as "as of",
        (select count(*) from leads) as "leads received",
        (select count(*) from leads where is_quality) as "quality leads",
        (select count(*) from leads where has_sale) as "leads with a sale",
        (select count(*) from deals) as "deals created",
        (select count(*) from deals where is_sale) as "sales",
        (select sum(base_amount) from deals where is_sale) as "sales amount",
        (select base_currency from refreshes) as "currency",
        (select count(*) from leads where is_forgotten) as "forgotten leads",
        (select count(*) from deals where is_forgotten) as "forgotten deals",
"""


def run_refresh(webhook_url: str) -> int:
    """A refresh of the demo warehouse in a separate process, as a scheduler runs it."""
    environment = {
        **os.environ,
        **dict.fromkeys(UNSET, ""),
        "BITRIX24_WEBHOOK_URL": webhook_url,
        "WAREHOUSE_DIR": str(DEMO),
        "SETTINGS": str(DEMO / "portal" / "settings.yml"),
    }
    command = [sys.executable, "-m", "pipelines", "refresh"]
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


def headlines(database: Path) -> list[tuple[str, str]]:
    """Name and value of each headline figure of a published file."""
    with duckdb.connect(str(database), read_only=True) as connection:
        result = connection.execute(HEADLINES)
        names = [column[0] for column in result.description]
        row = result.fetchone() or ()
    return [
        (name, value if isinstance(value, str) else f"{value or 0:,}".replace(",", " "))
        for name, value in zip(names, row, strict=True)
    ]


@click.command()
@click.option("--leads", default=18_000, show_default=True, help="Size of the demo company.")
@click.option("--seed", default=7, show_default=True)
def main(leads: int, seed: int) -> None:
    """Run the whole pipeline on a generated company, its March 2026 being a known month."""
    shutil.rmtree(DEMO, ignore_errors=True)
    click.echo(f"a company with {leads} leads …")
    generate(DEMO / "portal", leads=leads, seed=seed, reference_month=True)
    with serve(DEMO / "portal", rate_limit=True, operating_limit=True) as portal:
        click.echo("the demo portal is up")
        code = run_refresh(portal.webhook_url)
    if code:
        sys.exit(code)
    click.echo()
    for name, value in headlines(DEMO / "published" / "crm.duckdb"):
        click.echo(f"  {name:18} {value:>20}")
    click.echo()
    click.echo(f"marts: {DEMO / 'published' / 'crm.duckdb'}")
    click.echo(f"excel: {DEMO / 'published' / 'excel'}")
    click.echo(f"site:  {DEMO / 'published' / 'site'}  (show it with `make serve`)")


if __name__ == "__main__":
    main()
