"""joulemark publish: the leaderboard as a static site."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click
import msgspec

from joulemark.orchestrator.cli.options import json_option, show_warnings, warehouse_option


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--title", default="joulemark", show_default=True, help="Title of the site.")
@click.option(
    "--redact/--no-redact",
    default=True,
    show_default=True,
    help="Take names of hosts and users, addresses and paths out of all texts.",
)
@click.option("--simulated", is_flag=True, help="Publish trials of the simulator too; they are marked as such.")
@click.option("--traces/--no-traces", default=True, show_default=True, help="Publish the raw traces of every trial.")
@click.option("--sql/--no-sql", default=True, show_default=True, help="Publish the page for SQL (a database of 34 MB).")
@click.option(
    "--previous",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Earlier publication to go on from in the history; by default what DIR holds.",
)
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["csv", "json", "parquet", "markdown"]),
    help="Write only the leaderboard and the failures in this format, no site. Can be given several times.",
)
@json_option
@warehouse_option
def publish(folder: Path, formats: tuple[str, ...], as_json: bool, warehouse: str, **options: object) -> None:
    r"""Write the leaderboard as a static site into DIR, for any web host.

    Only valid trials are ranked; failed and invalid ones are listed with their reasons. The same warehouse gives the
    same bytes.

    \b
      joulemark publish site
      joulemark publish tables --format csv --format markdown
    """
    from joulemark.agents.home import joulemark_home
    from joulemark.warehouse.query.open import open_warehouse
    from joulemark.warehouse.site import publish as site
    from joulemark.warehouse.site.assets import assets
    from joulemark.warehouse.site.options import Options

    chosen = Options(**options)  # type: ignore[arg-type]
    # One thread: sums of many threads depend on which of them was first, in the last digit.
    with open_warehouse(warehouse, read_only_user=False, threads=1) as connection:
        show_warnings(connection.warnings)
        if formats:
            done = site.export(connection, folder, formats, chosen)
        else:
            done = site.publish(connection, folder, assets(joulemark_home()), chosen)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode({**asdict(done), "folder": str(folder)}) + b"\n")
        return
    left_out = f"; {done.left_out} failed or invalid trials are listed and not ranked" if done.left_out else ""
    print(f"{done.rows} rows from {done.trials} trials in {done.files} files in {folder}{left_out}")
    if not formats:
        print(f"open {folder / 'index.html'}, or serve it: python3 -m http.server -d {folder}")
