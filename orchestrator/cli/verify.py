"""joulemark verify: known answers, on this machine."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
import msgspec

from joulemark.orchestrator.cli.options import json_option
from joulemark.warehouse.errors import BadInput, MeterError, ThresholdMissed

if TYPE_CHECKING:
    from joulemark.warehouse.verify.case import Case

STRETCH_S, PAIRS = 15.0, 4
EFFECT_AT_MOST = 0.01
"""Share of idle power that the sampler may add; less than the gain error of any of the meters."""


@click.command()
@click.option(
    "--reference",
    type=click.Path(path_type=Path),
    metavar="DIR",
    envvar="JOULEMARK_REFERENCE",
    help="Folder of public meter traces, to check against them too (or JOULEMARK_REFERENCE).",
)
@click.option(
    "--observer",
    is_flag=True,
    help="Also measure what the sampler itself adds to idle power, by this machine's energy counters: two minutes "
    "in which it should have nothing else to do.",
)
@json_option
def verify(reference: Path | None, observer: bool, as_json: bool) -> None:
    r"""Put signals of known energy through the functions that make the figures; exit code 3 where one is wrong.

    Steady power, ramps, square waves and bursts; gaps, resets, missing readings and clocks that are off; shares of
    requests. With --reference also published wall-meter logs and GPU sensors beside an external meter.

    \b
      joulemark verify
      joulemark verify --observer
    """
    from joulemark.warehouse.verify.run import cases

    if reference is not None and not reference.is_dir():
        raise BadInput(f"there is no folder {reference}; give --reference (or JOULEMARK_REFERENCE) the right one")
    found = []
    for case in itertools.chain(cases(reference), _observed() if observer else ()):
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
        tried = sum(case.passed is not None for case in found)
        skipped = f", {len(found) - tried} skipped" if tried < len(found) else ""
        print(f"{tried} known answers, all right{skipped}")


def _observed() -> Iterator[Case]:
    from joulemark.agents.machine import Machine
    from joulemark.agents.meters.discover import discover
    from joulemark.agents.observer import observe
    from joulemark.warehouse.verify.case import Case

    machine = Machine()
    try:
        machine.claim(_refuse)
        observed = observe(discover()[0], STRETCH_S, PAIRS)
    except MeterError as error:
        yield Case("observer", "idle power", f"at most {EFFECT_AT_MOST:.0%} more", str(error), None)
        return
    finally:
        machine.release()
    for effect in observed.effects:
        at_most_w = EFFECT_AT_MOST * effect.without_w
        yield Case(
            "observer",
            f"{effect.channel.device} {effect.channel.scope}, sampler at {observed.cpu_share:.2%} of a core",
            f"at most {at_most_w:.3g} W over {effect.without_w:.5g} W",
            f"{effect.difference_w:+.3g} W, +- {effect.half_width_w:.2g} W",
            effect.difference_w - effect.half_width_w <= at_most_w,
        )


def _refuse(waiting: str) -> NoReturn:
    raise MeterError(f"{waiting}; measure again when it has ended")
