"""Commands of the pipeline: `python -m pipelines --help`."""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.environment import PortalAccess, load_environment
from pipelines.errors import (
    AnotherRefreshIsRunning,
    DoctorFoundProblems,
    PipelineError,
    SettingsError,
)
from pipelines.options import Options
from pipelines.readers import PRIVATE_UMASK
from pipelines.settings import Settings
from pipelines.stop import stop_on_signals, stop_received

if TYPE_CHECKING:
    from pipelines.warehouse import Warehouse

# Each command imports what it needs after the settings: a wrong setting is reported in a second.


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--verbose", is_flag=True, help="Print more, to stderr.")
def cli(verbose: bool) -> None:
    """Bitrix24 → marts → reports. Settings come from the environment or `.env` (see README)."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    if verbose:
        logging.getLogger("pipelines").setLevel(logging.INFO)


DAY = click.DateTime(formats=["%Y-%m-%d"])
FULL = click.option("--full", is_flag=True, help="Read everything, not only what changed.")
HISTORY_FROM = click.option(
    "--history-from",
    type=DAY,
    help="At a first load, read only what was created on or after this day; the next run without"
    " it reads the rest. Reports of a partial history say so.",
)
ACCEPT_LOSS = click.option(
    "--accept-loss", is_flag=True, help="Accept once that many records are gone."
)
ACCEPT_DIFFERENCE = click.option(
    "--accept-difference",
    is_flag=True,
    help="Accept once that the portal's count differs from the records that it lists or that were"
    " loaded.",
)
ACCEPT_DROP = click.option(
    "--accept-drop",
    is_flag=True,
    help="Accept once that reference data, a stage history or the activities shrank a lot.",
)


def connect() -> Any:
    """The client of the portal that the environment names."""
    from pipelines.bitrix24.access import from_environment
    from pipelines.bitrix24.client import Client

    told = PortalAccess.read()
    bundle = told.requests_ca_bundle
    if bundle and not bundle.exists():
        raise SettingsError(
            f"REQUESTS_CA_BUNDLE is {str(bundle)!r}, which does not exist: set it to the"
            " certificate file"
        )
    return Client(
        from_environment(_warehouse()),
        retry_seconds=told.bitrix24_retry_seconds,
        verify=str(bundle) if bundle else True,
        per_second=told.bitrix24_requests_per_second,
    )


def _warehouse() -> Warehouse:
    from pipelines.warehouse import Warehouse

    return Warehouse.from_environment()


@cli.command()
@FULL
@ACCEPT_LOSS
@ACCEPT_DIFFERENCE
@ACCEPT_DROP
@HISTORY_FROM
@click.option("--no-report", is_flag=True, help="Publish the marts without workbooks and site.")
def refresh(
    full: bool,
    accept_loss: bool,
    accept_difference: bool,
    accept_drop: bool,
    history_from: dt.datetime | None,
    no_report: bool,
) -> None:
    """Extract, check, build, publish, excel and report."""
    from pipelines import notify

    to, tells_success = notify.channels(_warn), notify.tells_success(_warn)
    try:
        settings, warehouse = Settings.load(), _warehouse()
        from pipelines.refresh import refresh as run_all

        run = run_all(
            warehouse,
            settings,
            connect,
            click.echo,
            options=_options(full, accept_loss, accept_difference, accept_drop, history_from),
            with_report=not no_report,
            alert=lambda line: notify.send(to, notify.deletions(line), _warn),
        )
    except AnotherRefreshIsRunning:
        raise
    except Exception as error:
        # Whoever stopped the run knows about it.
        if not stop_received():
            notify.send(to, notify.failure(error), _warn)
        raise
    if tells_success:
        notify.send(to, notify.success(run.lines(warehouse)), _warn)


def _warn(message: str) -> None:
    click.echo(message, err=True)


@cli.command()
@FULL
@ACCEPT_LOSS
@ACCEPT_DIFFERENCE
@ACCEPT_DROP
@HISTORY_FROM
def extract(
    full: bool,
    accept_loss: bool,
    accept_difference: bool,
    accept_drop: bool,
    history_from: dt.datetime | None,
) -> None:
    """Read the portal into the raw log."""
    settings, warehouse = Settings.load(), _warehouse()
    from pipelines.refresh import extract_in_parts as run

    with warehouse.lock():
        summary = run(
            connect(),
            warehouse,
            settings,
            options=_options(full, accept_loss, accept_difference, accept_drop, history_from),
            say=click.echo,
        )
    for name, counts in summary.counts.items():
        click.echo(
            f"{name:20} read {counts.rows_read:>9,}  appended {counts.rows_appended:>9,}"
            f"  deleted {counts.rows_deleted:>7,}  living {counts.rows_living:>9,}"
        )
    click.echo(f"refresh {summary.refresh_no} ({summary.kind}), {summary.requests} requests")
    for warning in summary.warnings:
        click.echo(f"warning: {warning}")


@cli.command()
@ACCEPT_DIFFERENCE
@ACCEPT_DROP
def check(accept_difference: bool, accept_drop: bool) -> None:
    """Check the extracted rows against the raw contract; completes the refresh."""
    settings, warehouse = Settings.load(), _warehouse()
    from pipelines.check import check as run

    with warehouse.lock():
        results = run(warehouse, settings, _accepted(accept_difference, accept_drop))
    accepted = sum(result.accepted for result in results)
    click.echo(f"{len(results) - accepted} raw checks passed, {accepted} accepted")


def _options(
    full: bool,
    accept_loss: bool,
    accept_difference: bool,
    accept_drop: bool,
    history_from: dt.datetime | None,
) -> Options:
    accepted = _accepted(accept_difference, accept_drop)
    return Options(full, accept_loss, accepted, history_from.date() if history_from else None)


def _accepted(difference: bool, drop: bool) -> list[str]:
    """Raw checks whose failure is accepted."""
    from pipelines.contract import DIFFERENCE, DROP

    return [name for name, given in ((DIFFERENCE, difference), (DROP, drop)) if given]


@cli.command()
def build() -> None:
    """Build the marts and run the data tests."""
    settings, warehouse = Settings.load(), _warehouse()
    from pipelines.build import build as run

    with warehouse.lock():
        results = run(warehouse, settings)
    click.echo(f"built; {len(results)} data tests passed")


@cli.command()
def publish() -> None:
    """Replace the published marts with the built ones."""
    from pipelines.publish import publish as run

    warehouse = _warehouse()
    with warehouse.lock():
        folder = run(warehouse)
    click.echo(f"published {folder}")


@cli.command()
@click.option(
    "--start", type=DAY, help="First day; default: the first of the month of the last day."
)
@click.option("--end", type=DAY, help="Last day; default: the day of the data.")
def excel(start: dt.datetime | None, end: dt.datetime | None) -> None:
    """Write the workbooks from the published marts, for this month by default."""
    settings, warehouse = Settings.load(), _warehouse()
    from pipelines.excel.workbooks import excel as run

    with warehouse.lock():
        folder = run(warehouse, settings, start and start.date(), end and end.date())
    click.echo(f"workbooks in {folder}")


@cli.command()
def report() -> None:
    """Build the site from the published marts."""
    settings, warehouse = Settings.load(), _warehouse()
    from pipelines.report import report as run

    with warehouse.lock():
        folder = run(warehouse, settings)
    click.echo(f"site in {folder}")


@cli.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
def shell(file: Path) -> None:
    """Write the shell of the reports into FILE, for machines without Node (REPORT_SHELL)."""
    settings, warehouse = Settings.load(), _warehouse()
    from pipelines.site.shell import pack

    pack(settings.report_lang, warehouse.directory / "logs", file)
    click.echo(f"shell in {file}")


@cli.command()
def doctor() -> None:
    """Check the portal and the settings; changes nothing in the portal."""
    settings, warehouse = Settings.load(), _warehouse()
    from pipelines.bitrix24.access import without_secrets
    from pipelines.bitrix24.doctor import examine

    problems = []
    with warehouse.lock():
        for finding in examine(connect(), warehouse, settings):
            lines = without_secrets(finding.text).splitlines()
            click.echo(f"{finding.level:9} " + ("\n" + " " * 10).join(lines))
            if finding.level == "problem":
                problems.append(finding.exit_code)
    if problems:
        raise DoctorFoundProblems(f"problems to fix: {len(problems)}", max(problems))


@cli.command()
def compact() -> None:
    """Rewrite the warehouse without raw rows that change no mart."""
    from pipelines.compact import compact as run

    warehouse = _warehouse()
    with warehouse.lock():
        done = run(warehouse)
    for name, (before, after) in done.rows.items():
        if before != after:
            click.echo(f"{name:20} rows {before:>12,} -> {after:>12,}")
    click.echo(f"{'warehouse.duckdb':20} bytes {done.bytes_before:>11,} -> {done.bytes_after:>12,}")


@cli.command()
@click.argument("text", default="a test message")
def notify(text: str) -> None:
    """Send a test message to the chats that the environment names."""
    from pipelines import notify as messages

    to = messages.channels(_warn)
    if not to:
        raise SettingsError(
            "no chat is set: set BITRIX24_CHAT_WEBHOOK_URL and BITRIX24_CHAT_ID, or"
            " TELEGRAM_BOT_TOKEN and TELEGRAM_CHAT_ID"
        )
    if messages.send(to, text, _warn) < len(to):
        sys.exit(1)
    click.echo(f"sent to {', '.join(channel.name for channel in to)}")


@cli.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    add_help_option=False,
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def mf(arguments: tuple[str, ...]) -> None:
    """MetricFlow on the published file: `mf query --metrics … --group-by …`, `mf --help`."""
    from pipelines.mf import run_mf

    run_mf(_warehouse(), arguments)


def main() -> int:
    """Runs a command; returns one of the exit codes in the README."""
    try:
        load_environment()
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt) as error:
        click.echo(str(error.__cause__ or error) or "stopped", err=True)
        return 1
    except SettingsError as error:
        from pipelines.bitrix24.access import without_secrets

        click.echo(without_secrets(str(error)), err=True)
        return error.exit_code
    except Exception as error:
        from pipelines.bitrix24.access import without_secrets

        if stop := stop_received():
            click.echo(str(stop), err=True)
            return 1
        told = _warehouse().cause_of(error) or error
        if isinstance(told, PipelineError):
            click.echo(without_secrets(str(told)), err=True)
            return told.exit_code
        click.echo(without_secrets("".join(traceback.format_exception(error))), err=True)
        return 1
    return 0


def run() -> None:
    """The program: `python -m pipelines`, or `bitrix24-analytics` of the environment."""
    os.umask(PRIVATE_UMASK)
    stop_on_signals()
    sys.exit(main())


if __name__ == "__main__":
    run()
