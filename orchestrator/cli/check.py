"""joulemark check: the gate before publishing, and limits of your own."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click
import msgspec

from joulemark.orchestrator.cli.options import json_option, show_warnings, warehouse_option
from joulemark.warehouse.errors import ThresholdMissed
from joulemark.warehouse.schema.reasons import BOUNDARIES, GRADES


@click.command()
@click.option("--sweep", "sweep_file", type=click.Path(path_type=Path), help="Check the cells that this file asks for.")
@click.option("--max-j-per-token", type=float, help="Highest J per output token that any cell may have.")
@click.option("--min-tokens-per-joule", type=float, help="Fewest output tokens per joule.")
@click.option("--min-tokens-per-s", type=float, help="Lowest output rate.")
@click.option("--max-ttft-p99-ms", type=float, help="Highest p99 of the time to the first token.")
@click.option("--max-itl-p99-ms", type=float, help="Highest p99 of the gap between tokens.")
@click.option("--min-grade", type=click.Choice(list(GRADES)), help="Lowest grade.")
@click.option("--boundary", type=click.Choice(list(BOUNDARIES)), help="Apply limits in this boundary.")
@json_option
@warehouse_option
def check(sweep_file: Path | None, as_json: bool, warehouse: str, boundary: str | None, **limits: float | str) -> None:
    r"""Check that every cell has its valid trials and keeps the given limits; exit code 3 where not.

    \b
      joulemark check
      joulemark check --sweep sweep.yaml --min-grade standard --max-j-per-token 0.5
    """
    from joulemark.warehouse.check import Thresholds
    from joulemark.warehouse.check import check as find
    from joulemark.warehouse.query.open import open_warehouse

    planned = _planned(sweep_file) if sweep_file is not None else None
    thresholds = Thresholds(boundary=boundary, **limits)  # type: ignore[arg-type]
    with open_warehouse(warehouse) as connection:
        show_warnings(connection.warnings)
        if planned is None and not connection.snapshot.trials:
            raise ThresholdMissed(f"{connection.warehouse.url} holds no trial: there is nothing that could pass")
        findings = find(connection, thresholds, planned=planned)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.encode([asdict(f) for f in findings]) + b"\n")
    else:
        for finding in findings:
            print(finding)
    if findings:
        raise ThresholdMissed(f"{len(findings)} findings")
    if not as_json:
        print("every cell has its valid trials and keeps the limits")


def _planned(sweep_file: Path) -> dict[str, int]:
    from joulemark.orchestrator.inventory import accelerator_for_any, this_machine
    from joulemark.workloads.matrix import Place, expand
    from joulemark.workloads.sweep import load_sweep

    sweep = load_sweep(sweep_file)
    cells = expand(sweep, Place(any_accelerator=accelerator_for_any([this_machine()]))).cells
    return {c.cell_id: sweep.measure.repeats * sweep.measure.starts for c in cells}
