"""joulemark leaderboard: what came out."""

from __future__ import annotations

import shutil
import sys

import click

from joulemark.orchestrator.cli.options import json_option, warehouse_option


@click.command()
@click.option("--sweep", metavar="NAME", help="Only cells of this sweep; ranks stay those among all comparable rows.")
@json_option
@warehouse_option
def leaderboard(sweep: str | None, as_json: bool, warehouse: str) -> None:
    """Print the leaderboard: best first, with rank ranges and intervals.

    Rows are ranked only against rows of the same boundary, fidelity and workload.
    """
    from joulemark.warehouse.leaderboard import read, render
    from joulemark.warehouse.query.open import open_warehouse
    from joulemark.warehouse.query.output import write

    with open_warehouse(warehouse) as connection:
        for warning in connection.warnings:
            print(f"joulemark: {warning}", file=sys.stderr)
        board = read(connection, sweep=sweep)
    if as_json:
        write(board.rows, "json", sys.stdout.buffer)
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(render(board, width=width), end="")
