"""joulemark run: measure a sweep."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from joulemark.orchestrator.cli.options import (
    cluster_option,
    force_option,
    site_option,
    sweep_argument,
    warehouse_option,
)
from joulemark.warehouse.errors import ClusterError
from joulemark.warehouse.store.location import Warehouse

if TYPE_CHECKING:
    from joulemark.orchestrator.ray_lease import SweepLease
    from joulemark.orchestrator.run_sweep import RunResult
    from joulemark.orchestrator.sweep_work import SweepWork

SOME_FAILED = 1
INTERRUPTED = 130


@click.command()
@sweep_argument
@site_option
@cluster_option
@force_option
@click.option(
    "--patience",
    type=click.FloatRange(min=0),
    default=600.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a node that is gone, and for a warehouse that does not answer.",
)
@warehouse_option
def run(
    sweep_file: Path, site_file: Path | None, cluster: str | None, force: bool, patience: float, warehouse: str
) -> None:
    r"""Run a sweep: start engines, measure every trial, show the leaderboard.

    The same command again goes on where it stopped: valid trials are not repeated. Ctrl-C once finishes the running
    trial, twice stops now.

    \b
      joulemark run sweep.yaml
      joulemark run sweep.yaml --site site.yaml --cluster ray-head:6379 --warehouse s3://bucket/records
    """
    from joulemark.orchestrator import ray_environment
    from joulemark.orchestrator.inventory import this_machine
    from joulemark.orchestrator.sweep_work import load_work

    place = Warehouse.at(warehouse)
    if cluster is None:
        # A mistake in the file is said before anything is started.
        work = load_work(sweep_file, site_file, place, [this_machine()], force=force)
        if not work.groups:
            _nothing_to_run(work, place)
            return
    ray_environment.prepare(cluster)
    _tell("starting a local Ray" if cluster is None else f"connecting to {cluster}")
    from joulemark.orchestrator import ray_session
    from joulemark.orchestrator.run_sweep import run_sweep

    with ray_session.session(cluster):
        lease = _lease(sweep_file, place) if cluster is not None else None
        other = lease.take() if lease is not None else None
        if lease is not None and other is not None:
            _follow(lease, other, place)
            return
        work = load_work(sweep_file, site_file, place, ray_session.nodes(), force=force)
        _tell_beforehand(work)
        held = lease.held if lease is not None else None
        result = run_sweep(work, place, ray_session.nodes, lease=held, patience_s=patience)
    _end(result, place)


def _lease(sweep_file: Path, place: Warehouse) -> SweepLease:
    from joulemark.orchestrator.ray_lease import SweepLease
    from joulemark.orchestrator.run_sweep import who
    from joulemark.warehouse.store.whose import ensure_id
    from joulemark.workloads.sweep import load_sweep

    sweep = load_sweep(sweep_file).name
    return SweepLease(sweep, ensure_id(place), who(sweep))


def _follow(lease: SweepLease, other: str, place: Warehouse) -> None:
    """Show what the other driver does, and end as it ends."""
    from joulemark.orchestrator.follow import follow

    _tell(f"{other} runs it already; following that one (Ctrl-C ends only this)")
    end = follow(lease.follow(), place, lease.sweep, _tell)
    if end is None:
        _tell("that driver is gone; the same command goes on where it stopped")
        sys.exit(SOME_FAILED)
    _show(place, lease.sweep)
    if end.had + end.valid < end.wanted:
        _tell(f'{end.wanted - end.had - end.valid} trials are missing; see: joulemark sql "from failures"')
        sys.exit(SOME_FAILED)


def _tell_beforehand(work: SweepWork) -> None:
    expansion = work.expansion
    for text in (*expansion.warnings, *work.have.warnings, *(f"no place: {w}" for _, w in work.homeless)):
        _tell(text)
    for omission in expansion.forced:
        _tell(f"forced: {omission.what}: {omission.why}")
    left_out = [e for e in expansion.excluded if e.can_be_forced]
    for omission in left_out:
        _tell(f"left out: {omission.what}: {omission.why}")
    if left_out:
        _tell("--force runs them all the same")


def _nothing_to_run(work: SweepWork, place: Warehouse) -> None:
    if work.homeless:
        reasons = "; ".join(sorted({why for _, why in work.homeless}))
        raise ClusterError(f"none of the trials left has a place here: {reasons}; give a --cluster that has it")
    _tell_beforehand(work)
    _tell(f"all {work.wanted} trials of {work.sweep.name} are there already")
    _show(place, work.sweep.name)


def _end(result: RunResult, place: Warehouse) -> None:
    _show(place, result.end.sweep)
    _tell(f"records: {place.root if place.local else place.url}")
    for error in result.errors:
        _tell(str(error))
    if result.interrupted:
        _tell("stopped; the same command goes on where it stopped")
        sys.exit(INTERRUPTED)
    if not result.complete:
        missing = result.end.wanted - result.end.had - result.end.valid
        _tell(f'{missing} trials are missing; see: joulemark sql "from failures"')
        sys.exit(SOME_FAILED)
    _tell('try next: joulemark sql "from trial_results", joulemark compare --help, a second sweep file')


def _show(place: Warehouse, sweep: str) -> None:
    from joulemark.warehouse.leaderboard import read, render
    from joulemark.warehouse.query.open import open_warehouse

    if not place.exists():
        return
    with open_warehouse(place) as connection:
        for warning in connection.warnings:
            _tell(warning)
        board = read(connection, sweep=sweep)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(render(board, width=width), end="", flush=True)


def _tell(text: str) -> None:
    print(f"joulemark: {text}", file=sys.stderr, flush=True)
