"""joulemark compact: put small files together."""

from __future__ import annotations

import click

from joulemark.orchestrator.cli.options import show_warnings, warehouse_option


@click.command()
@click.option("--settled", "settled_s", default=3600.0, show_default=True, help="Leave alone what is younger [s].")
@click.option("--dry-run", is_flag=True, help="Only say what would be done.")
@warehouse_option
def compact(settled_s: float, dry_run: bool, warehouse: str) -> None:
    r"""Put small files of the warehouse together.

    A node's traces become one file per day, requests one per sweep. Figures and digests stay the same. It can run
    beside queries and a running sweep.

    \b
      joulemark compact --dry-run
    """
    from joulemark.warehouse.store.location import Warehouse
    from joulemark.warehouse.upkeep.compact import compact as put_together

    done = put_together(Warehouse.at(warehouse), settled_s=settled_s, dry_run=dry_run)
    show_warnings(done.warnings)
    what = "would become" if dry_run else "became"
    print(f"{done.files} files {what} {done.packs}" if done.packs else "nothing to put together")
