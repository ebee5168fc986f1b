"""joulemark prune: drop raw traces of old trials."""

from __future__ import annotations

import datetime as dt

import click

from joulemark.orchestrator.cli.options import show_warnings, warehouse_option


@click.command()
@click.option(
    "--traces-before",
    required=True,
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    metavar="DATE",
    help="Drop traces of trials that ended before this date (UTC).",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be dropped.")
@warehouse_option
def prune(traces_before: dt.datetime, dry_run: bool, warehouse: str) -> None:
    r"""Drop raw traces (power, device state, requests, engine state) of old trials.

    Trials, manifests, energies, figures and shares of requests stay. What needs each reading or token (`power`,
    `requests`, `tokens` and what is computed from them when asked) has nothing more to say of these trials.

    \b
      joulemark prune --traces-before 2026-06-01 --dry-run
    """
    from joulemark.warehouse.store.location import Warehouse
    from joulemark.warehouse.upkeep.prune import prune as drop

    before = traces_before.replace(tzinfo=dt.UTC)
    done = drop(Warehouse.at(warehouse), int(before.timestamp()) * 1_000_000, dry_run=dry_run)
    show_warnings(done.warnings)
    show_warnings(f"left alone {reason}" for reason in done.left_alone)
    what = "would be dropped" if dry_run else "dropped"
    print(f"{done.trials} trials, {done.files} files {what}, {done.bytes / 1e6:.1f} MB")
