"""joulemark export: a sweep as one folder or file."""

from __future__ import annotations

from pathlib import Path

import click

from joulemark.orchestrator.cli.options import show_warnings, warehouse_option
from joulemark.warehouse.errors import BadInput


@click.command()
@click.argument("sweep", required=False)
@click.argument("target", required=False, type=click.Path(path_type=Path))
@click.option("--verify", "bundle", type=click.Path(path_type=Path, exists=True), help="Check an exported sweep.")
@warehouse_option
def export(sweep: str | None, target: Path | None, bundle: Path | None, warehouse: str) -> None:
    r"""Write all records of a sweep to one folder, or to one file where TARGET ends with .tar.

    The folder is a warehouse of its own: joulemark sql and joulemark leaderboard work on it. `joulemark import` brings
    it into another warehouse. SHA256SUMS has the checksum of every file.

    \b
      joulemark export my-sweep my-sweep.tar
      joulemark export --verify my-sweep.tar
    """
    from joulemark.warehouse.bundle.bring_back import verify
    from joulemark.warehouse.bundle.export import export as take_out
    from joulemark.warehouse.query.snapshot import take
    from joulemark.warehouse.store.location import Warehouse

    if bundle is not None:
        if sweep is not None:
            raise BadInput("--verify checks what was exported: give it without a sweep")
        checked = verify(bundle)
        print(f"{bundle}: {checked.files} files of {checked.trials} trials, all as they were exported")
        return
    if sweep is None or target is None:
        raise BadInput("give a sweep and where to; for example: joulemark export my-sweep my-sweep.tar")
    snapshot = take(Warehouse.at(warehouse))
    show_warnings(snapshot.warnings)
    done = take_out(snapshot, sweep, target)
    print(f"{target}: {done.trials} trials, {done.files} files, {done.bytes / 1e6:.1f} MB")
