"""joulemark compare: are two cells different, and by how much."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click
import msgspec

from joulemark.orchestrator.cli.options import json_option, show_warnings, warehouse_option
from joulemark.warehouse.schema.reasons import BOUNDARIES


@click.command()
@click.argument("a")
@click.argument("b")
@click.option(
    "--boundary",
    type=click.Choice(list(BOUNDARIES)),
    help="Compare in this boundary instead of the narrowest that both have.",
)
@json_option
@warehouse_option
def compare(a: str, b: str, boundary: str | None, as_json: bool, warehouse: str) -> None:
    r"""Compare two cells, by the start of their id or by a filter.

    \b
      joulemark compare model=tiny-moe,quantization=q4_0,concurrency=8 model=tiny-dense,quantization=q4_0,concurrency=8

    The answer is a ratio with its 95 % interval and a test, or that the two cannot be told apart.
    """
    from joulemark.warehouse import compare as comparing
    from joulemark.warehouse.query.open import open_warehouse

    with open_warehouse(warehouse) as connection:
        show_warnings(connection.warnings)
        comparison = comparing.compare(connection, a, b, boundary=boundary)
    if as_json:
        could_make = comparison.sensors.could_make(comparison.ratio)
        record = {
            **asdict(comparison),
            "distinguishable": comparison.distinguishable,
            "sensors_could_make_it": could_make,
        }
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(record), indent=1) + b"\n")
        return
    print(comparing.render(comparison), end="")
