"""joulemark leaderboard: what came out."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from joulemark.orchestrator.cli.options import json_option, show_warnings, warehouse_option
from joulemark.warehouse.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

    from joulemark.warehouse.query.open import Connection


@click.command()
@click.option("--sweep", metavar="NAME", help="Only cells of this sweep; ranks stay those among all comparable rows.")
@click.option("--imported", is_flag=True, help="Put imported results and measured cells in one order.")
@json_option
@warehouse_option
def leaderboard(sweep: str | None, imported: bool, as_json: bool, warehouse: str) -> None:
    r"""Print the leaderboard: best first, with rank ranges and intervals.

    Rows are ranked only against rows of the same boundary, fidelity and workload.

    \b
      joulemark leaderboard
      joulemark leaderboard --sweep my-sweep --json
    """
    from joulemark.warehouse.leaderboard import read, render
    from joulemark.warehouse.query.open import open_warehouse
    from joulemark.warehouse.query.output import write

    with open_warehouse(warehouse) as connection:
        show_warnings(connection.warnings)
        if sweep is not None and imported:
            raise BadInput("--imported goes over the whole warehouse: give it without --sweep")
        if sweep is not None:
            _check_name(connection, sweep)
        board = read(connection, sweep=sweep)
        others = connection.sql("FROM leaderboard_with_imported") if imported else None
    if others is not None:
        _show_with_imported(others, as_json=as_json)
        return
    if as_json:
        write(board.rows, "json", sys.stdout.buffer)
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(render(board, width=width), end="")


def _show_with_imported(rows: pa.Table, *, as_json: bool) -> None:
    from joulemark.warehouse.query.output import write

    if as_json:
        write(rows, "json", sys.stdout.buffer)
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    write(rows, "table", sys.stdout.buffer, width=width)
    sys.stdout.buffer.flush()
    print("\nimported rows were measured by others, in other ways: see their energy_method in `imported`")


def _check_name(connection: Connection, sweep: str) -> None:
    names = connection.sql("FROM trials SELECT DISTINCT sweep ORDER BY sweep")["sweep"].to_pylist()
    if sweep not in names:
        there = f"there are {', '.join(names)}" if names else "there are none at all"
        raise BadInput(f"no trial of a sweep {sweep!r} is in {connection.warehouse.url}; {there}")
