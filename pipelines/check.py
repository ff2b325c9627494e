"""The raw contract of a refresh, held by Great Expectations; a refresh that passes is completed.

SQL makes one summary row per raw table over the rows of this refresh; the suites stand on these
rows, so memory stays bounded however many rows were read.
"""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import asdict, dataclass
from typing import Any

import polars as pl

from pipelines.bitrix24.entities import ENTITIES, TABLES, Table
from pipelines.errors import CheckEngineError, ChecksFailed
from pipelines.warehouse import Warehouse

OLDEST_DATE = dt.date(1990, 1, 1)


@dataclass(frozen=True)
class CheckResult:
    """One row of `quality.check_results`."""

    refresh_no: int
    layer: str
    entity: str
    check_name: str
    passed: bool
    failures: int
    message: str


# Column of the summary row → what a non-zero count means.
CHECKS = {
    "keys_missing": "rows without a key",
    "keys_repeated": "keys that came more than once in one refresh",
    "semantics_unknown": "rows whose stage semantics is none of P, S, F",
    "dates_out_of_range": "rows with a date before 1990 or more than a day after the refresh",
    "rows_not_loaded": "rows that were read and are not in the raw log (or are there twice)",
    "rows_short_of_portal": "rows by which the portal's count and the warehouse differ",
}


def _summary_sql(table: Table) -> str:
    key = ", ".join(table.key)
    null_key = " or ".join(f"{name} is null" for name in table.key)
    semantics = "stage_semantic_id" if "stage_semantic_id" in table.columns else "null"
    bad_dates = [
        f"created_time::date < date '{OLDEST_DATE}'",
        "created_time > as_of + interval 1 day",
    ]
    dates = " or ".join(bad_dates) if "created_time" in table.columns else "false"
    return f"""
        select
            '{table.name}' as entity,
            count(*) as rows_loaded,
            count(*) filter ({null_key}) as keys_missing,
            count(*) - count(distinct ({key})) as keys_repeated,
            count(*) filter ({semantics} not in ('P', 'S', 'F')) as semantics_unknown,
            count(*) filter (not is_deleted and ({dates})) as dates_out_of_range
        from raw.{table.name}
        cross join (select max(as_of) as as_of from raw.refreshes where refresh_no = $number)
        where refresh_no = $number
    """


def summary(warehouse: Warehouse, refresh_no: int) -> pl.DataFrame:
    """One row per raw table: counts that must all be zero."""
    query = " union all by name ".join(_summary_sql(table) for table in TABLES)
    with warehouse.connect() as connection:
        rows = pl.DataFrame(connection.sql(query, params={"number": refresh_no}).to_arrow_table())
        loaded = pl.DataFrame(
            connection.sql(
                "select entity, any_value(rows_appended) as rows_appended,"
                " any_value(portal_total) - any_value(rows_living) as rows_short_of_portal"
                " from raw.load_completeness where refresh_no = $number group by entity",
                params={"number": refresh_no},
            ).to_arrow_table()
        )
    counted = {table.name for table in ENTITIES}
    return (
        rows.join(loaded, on="entity", how="left")
        .with_columns(
            (pl.col("rows_appended") - pl.col("rows_loaded")).abs().alias("rows_not_loaded"),
            pl.when(pl.col("entity").is_in(list(counted)))
            .then(pl.col("rows_short_of_portal"))
            .otherwise(0)
            .abs()
            .alias("rows_short_of_portal"),
        )
        .sort("entity")
    )


def _validate(rows: pl.DataFrame) -> list[tuple[str, str, int, bool]]:
    """(entity, check, failures, passed) by Great Expectations: every count must be zero."""
    import great_expectations as gx
    from great_expectations.expectations.core import ExpectColumnValuesToBeBetween

    # It tells of its temporary folders, and sets its own level when it is imported.
    logging.getLogger("great_expectations.data_context.types.base").setLevel(logging.WARNING)
    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("raw").add_dataframe_asset("summary")
    batch = asset.add_batch_definition_whole_dataframe("rows").get_batch(
        {"dataframe": rows.to_pandas()}
    )
    suite = gx.ExpectationSuite(
        name="raw",
        expectations=[
            ExpectColumnValuesToBeBetween(column=name, min_value=0, max_value=0) for name in CHECKS
        ],
    )
    results = []
    outcome = batch.validate(
        suite,
        result_format={
            "result_format": "COMPLETE",
            "unexpected_index_column_names": ["entity"],
        },
    )
    for tested in outcome.results:
        name = tested.expectation_config.kwargs["column"]
        # A broken engine reports success=False too: only its exception tells it apart.
        raised = tested.exception_info or {}
        if raised.get("raised_exception") or any(
            isinstance(item, dict) and item.get("raised_exception") for item in raised.values()
        ):
            raise CheckEngineError(f"the check {name} could not be run")
        bad = {row["entity"] for row in tested.result.get("unexpected_index_list") or []}
        if bool(bad) == bool(tested.success):
            raise CheckEngineError(f"the check {name} contradicts itself")
        results += [
            (entity, name, int(count or 0), entity not in bad)
            for entity, count in rows.select("entity", name).iter_rows()
        ]
    return results


def check(warehouse: Warehouse) -> list[CheckResult]:
    """Checks the newest extracted refresh and completes it.

    Raises:
        ChecksFailed: a check failed, or there is nothing to check; the refresh stays invisible.
        CheckEngineError: Great Expectations could not run a check.
    """
    extracted = warehouse.last_refreshes(completed=False)
    if not extracted:
        raise ChecksFailed("nothing was extracted yet: run `python -m pipelines extract` first")
    number = extracted[0].refresh_no
    results = [
        CheckResult(
            number,
            "raw",
            entity,
            name,
            passed,
            failures,
            "" if passed else f"{entity}: {failures} {CHECKS[name]}",
        )
        for entity, name, failures, passed in _validate(summary(warehouse, number))
    ]
    store_results(warehouse, results, "raw")
    failed = [result.message for result in results if not result.passed]
    if failed:
        raise ChecksFailed("raw checks failed:\n" + "\n".join(failed), results)
    complete(warehouse, number)
    return results


def complete(warehouse: Warehouse, refresh_no: int) -> None:
    """Makes an extracted refresh visible to the models."""
    with warehouse.connect(read_only=False) as connection:
        connection.execute(
            "insert into raw.refreshes by name"
            " select * replace (true as completed) from raw.refreshes"
            " where refresh_no = $number and not completed and not exists"
            " (select 1 from raw.refreshes where refresh_no = $number and completed)"
            " limit 1",
            {"number": refresh_no},
        )


def store_results(warehouse: Warehouse, results: list[CheckResult], layer: str) -> None:
    """Replaces the results of one layer (raw, dbt) in `quality.check_results`."""
    rows = pl.DataFrame(
        [asdict(result) for result in results],
        schema={
            "refresh_no": pl.Int64,
            "layer": pl.String,
            "entity": pl.String,
            "check_name": pl.String,
            "passed": pl.Boolean,
            "failures": pl.Int64,
            "message": pl.String,
        },
    ).to_arrow()
    with warehouse.connect(read_only=False) as connection:
        connection.register("new_results", rows)
        connection.execute("create schema if not exists quality")
        connection.execute(
            "create table if not exists quality.check_results as select * from new_results limit 0"
        )
        connection.execute(
            "delete from quality.check_results where layer = $layer", {"layer": layer}
        )
        connection.execute("insert into quality.check_results by name select * from new_results")
