"""Commands of the pipeline: `python -m pipelines --help`."""

from __future__ import annotations

import datetime as dt
import logging
import os
import sys
import traceback
from math import inf
from pathlib import Path
from typing import Any

import click
from dotenv import load_dotenv

from pipelines.errors import (
    AnotherRefreshIsRunning,
    DoctorFoundProblems,
    PipelineError,
    SettingsError,
)
from pipelines.readers import PRIVATE_UMASK
from pipelines.stop import stop_on_signals, stop_received
from pipelines.warehouse import ROOT, Warehouse


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--verbose", is_flag=True, help="Tell more, to stderr.")
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
    help="At a first load, stop for now at what was created before this day; the next run without"
    " it reads the rest. Reports of a part of the history say so.",
)
ACCEPT_LOSS = click.option(
    "--accept-loss", is_flag=True, help="Accept, this once, that many records are gone."
)
ACCEPT_DIFFERENCE = click.option(
    "--accept-difference",
    is_flag=True,
    help="Accept, this once, that the portal counts other records than it lists or than were"
    " loaded.",
)
ACCEPT_DROP = click.option(
    "--accept-drop",
    is_flag=True,
    help="Accept, this once, that a directory, a history or the activities shrank much.",
)


def connect() -> Any:
    """The client of the portal that the environment names."""
    from pipelines.bitrix24.access import from_environment
    from pipelines.bitrix24.client import Client

    bundle = os.environ.get("REQUESTS_CA_BUNDLE")
    if bundle and not Path(bundle).exists():
        raise SettingsError(
            f"REQUESTS_CA_BUNDLE is {bundle!r}, where nothing is: name the file of the certificate"
        )
    wait = os.environ.get("BITRIX24_RETRY_SECONDS") or "1"
    try:
        retry_seconds = float(wait)
        if not 0 < retry_seconds < inf:
            raise ValueError
    except ValueError:
        raise SettingsError(
            f"BITRIX24_RETRY_SECONDS is {wait!r}: a positive number of seconds is allowed"
        ) from None
    return Client(
        from_environment(Warehouse.from_environment()),
        retry_seconds=retry_seconds,
        verify=bundle or True,
    )


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
    from pipelines.refresh import refresh as run_all
    from pipelines.settings import Settings

    warehouse, to = Warehouse.from_environment(), notify.channels(_warn)
    tells_success = notify.tells_success(_warn)
    try:
        run = run_all(
            warehouse,
            Settings.load(),
            connect,
            click.echo,
            full=full,
            accept_loss=accept_loss,
            accept=_accepted(accept_difference, accept_drop),
            history_from=history_from and history_from.date(),
            with_report=not no_report,
            alert=lambda line: notify.send(to, notify.deletions(line), _warn),
        )
    except AnotherRefreshIsRunning:
        raise
    except Exception as error:
        # Who stopped it knows.
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
    from pipelines.bitrix24.extract import extract as run
    from pipelines.settings import Settings

    warehouse, settings = Warehouse.from_environment(), Settings.load()
    with warehouse.lock():
        summary = run(
            connect(),
            warehouse,
            settings,
            full=full,
            accept_loss=accept_loss,
            accept=_accepted(accept_difference, accept_drop),
            history_from=history_from and history_from.date(),
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
    """Hold the extracted rows to the raw contract; completes the refresh."""
    from pipelines.check import check as run
    from pipelines.settings import Settings

    warehouse, settings = Warehouse.from_environment(), Settings.load()
    with warehouse.lock():
        results = run(warehouse, settings, _accepted(accept_difference, accept_drop))
    accepted = sum(result.accepted for result in results)
    click.echo(f"{len(results) - accepted} raw checks passed, {accepted} accepted")


def _accepted(difference: bool, drop: bool) -> list[str]:
    """Raw checks whose failure is accepted."""
    from pipelines.contract import DIFFERENCE, DROP

    return [name for name, given in ((DIFFERENCE, difference), (DROP, drop)) if given]


@cli.command()
def build() -> None:
    """Build the marts and run the data tests."""
    from pipelines.build import build as run
    from pipelines.settings import Settings

    warehouse = Warehouse.from_environment()
    with warehouse.lock():
        results = run(warehouse, Settings.load())
    click.echo(f"built; {len(results)} data tests passed")


@cli.command()
def publish() -> None:
    """Put the built marts in place of the published ones."""
    from pipelines.publish import publish as run

    warehouse = Warehouse.from_environment()
    with warehouse.lock():
        folder = run(warehouse)
    click.echo(f"published {folder}")


@cli.command()
@click.option("--start", type=DAY, help="First day; by default that of the month of the last one.")
@click.option("--end", type=DAY, help="Last day; by default the day on which the data stand.")
def excel(start: dt.datetime | None, end: dt.datetime | None) -> None:
    """Write the workbooks from the published marts, by default for this month."""
    from pipelines.excel.workbooks import excel as run
    from pipelines.settings import Settings

    warehouse = Warehouse.from_environment()
    with warehouse.lock():
        folder = run(warehouse, Settings.load(), start and start.date(), end and end.date())
    click.echo(f"workbooks in {folder}")


@cli.command()
def report() -> None:
    """Build the site from the published marts."""
    from pipelines.report import report as run
    from pipelines.settings import Settings

    warehouse = Warehouse.from_environment()
    with warehouse.lock():
        folder = run(warehouse, Settings.load())
    click.echo(f"site in {folder}")


@cli.command()
def doctor() -> None:
    """Tell what is right and wrong with the portal; changes nothing there."""
    from pipelines.bitrix24.access import without_secrets
    from pipelines.bitrix24.doctor import examine
    from pipelines.settings import Settings

    warehouse, settings = Warehouse.from_environment(), Settings.load()
    problems = []
    with warehouse.lock():
        for finding in examine(connect(), warehouse, settings):
            lines = without_secrets(finding.text).splitlines()
            click.echo(f"{finding.level:9} " + ("\n" + " " * 10).join(lines))
            if finding.level == "problem":
                problems.append(finding.exit_code)
    if problems:
        raise DoctorFoundProblems(f"to mend: {len(problems)}", max(problems))


@cli.command()
def compact() -> None:
    """Write the warehouse anew without raw rows that change no mart."""
    from pipelines.compact import compact as run

    warehouse = Warehouse.from_environment()
    with warehouse.lock():
        done = run(warehouse)
    for name, (before, after) in done.rows.items():
        if before != after:
            click.echo(f"{name:20} rows {before:>12,} -> {after:>12,}")
    click.echo(f"{'warehouse.duckdb':20} bytes {done.bytes_before:>11,} -> {done.bytes_after:>12,}")


@cli.command()
@click.argument("text", default="a test message")
def notify(text: str) -> None:
    """Send a message to the chats that the environment names, to try them."""
    from pipelines import notify as messages

    to = messages.channels(_warn)
    if not to:
        raise SettingsError(
            "no chat is named: set BITRIX24_CHAT_WEBHOOK_URL and BITRIX24_CHAT_ID, or"
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

    run_mf(Warehouse.from_environment(), arguments)


def load_environment() -> None:
    """Reads `.env`, where there is one.

    Raises:
        SettingsError: it is not text in UTF-8, or cannot be read.
    """
    file = ROOT / ".env"
    try:
        load_dotenv(file, encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SettingsError(f"{file} is not UTF-8: save it in UTF-8") from None
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from None


def main() -> int:
    """Runs a command; its exit code is one of those in the README."""
    try:
        load_environment()
    except SettingsError as error:
        click.echo(str(error), err=True)
        return error.exit_code
    from pipelines.bitrix24.access import without_secrets

    try:
        cli.main(standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return 2
    except (click.Abort, KeyboardInterrupt) as error:
        click.echo(str(error.__cause__ or error) or "stopped", err=True)
        return 1
    except Exception as error:
        if stop := stop_received():
            click.echo(str(stop), err=True)
            return 1
        warehouse = Warehouse.from_environment()
        told = warehouse.cause_of(error) or error
        if isinstance(told, PipelineError):
            click.echo(without_secrets(str(told)), err=True)
            return told.exit_code
        click.echo(without_secrets("".join(traceback.format_exception(error))), err=True)
        return 1
    return 0


if __name__ == "__main__":
    os.umask(PRIVATE_UMASK)
    stop_on_signals()
    sys.exit(main())
