"""joulemark verify: known answers, on this machine."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click
import msgspec

from joulemark.orchestrator.cli.options import json_option
from joulemark.warehouse.errors import BadInput, ThresholdMissed


@click.command()
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="DIR",
    envvar="JOULEMARK_REFERENCE",
    help="Folder of public meter traces, to check against them too (or JOULEMARK_REFERENCE).",
)
@json_option
def verify(reference: Path | None, as_json: bool) -> None:
    """Put signals of known energy through the functions that make the figures; exit code 3 where one is wrong.

    Steady power, ramps, square waves and bursts; gaps, resets, missing readings and clocks that are off; shares of
    requests. With --reference also published wall-meter logs and GPU sensors beside an external meter.
    """
    from joulemark.warehouse.verify.run import cases

    if reference is not None and not reference.is_dir():
        raise BadInput(f"there is no folder {reference}; give --reference (or JOULEMARK_REFERENCE) the right one")
    found = []
    for case in cases(reference):
        found.append(case)
        if not as_json:
            print(case)
    wrong = sum(case.passed is False for case in found)
    if as_json:
        records = [{**asdict(case), "verdict": case.verdict} for case in found]
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(records), indent=1) + b"\n")
    if wrong:
        raise ThresholdMissed(f"{wrong} of {len(found)} known answers came out wrong; do not trust figures made here")
    if not as_json:
        print(f"{len(found)} known answers, all right")
