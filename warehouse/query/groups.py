"""What is built together, batch by batch of trials, and the name of the code that defines it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache

from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.identity import content_id
from joulemark.warehouse.views import ORDER, STORED, view_text

ENERGY, FIGURES, SHARES, PHASES = "trial_energy", "figures", "request_energy", "phase_estimates"
WINDOWS = "window_variation"

GROUPS: dict[str, tuple[str, ...]] = {
    ENERGY: ("trial_energy",),
    FIGURES: STORED,
    SHARES: ("request_energy",),
    PHASES: ("phase_estimates",),
    WINDOWS: ("window_variation",),
}
"""Datasets and stored views by group, each group after those that it rests on."""


@cache
def definition(group: str) -> str:
    """Return what changes when a group's rows would come out differently: versions, and the texts of its views."""
    versions = [DATASETS["trial_energy"].version]
    if group == ENERGY:
        return content_id(versions)
    if group in (SHARES, PHASES, WINDOWS):
        built = [DATASETS[d].version for d in GROUPS[group]]
        return content_id([*versions, *built, _texts(["trial_components"])])
    return content_id([*versions, _texts(STORED)])


def whole_view_file(view: str, trials: str) -> str:
    """Return the file of a view that is written for all trials at once; ``trials`` is a digest of their names.

    It is named for all that its rows rest on: one that is there is right.
    """
    return f"built/{view}/{content_id([trials, definition(FIGURES), _texts([view])])}.parquet"


def _texts(names: Iterable[str]) -> list[str]:
    """Return the texts of these views and of all that they use, in order, without comments."""
    used: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in used:
            used.add(name)
            waiting += _used_by(name)
    return [_text(n) for n in ORDER if n in used]


@cache
def _text(name: str) -> str:
    return re.sub(r"--.*", "", view_text(name))


@cache
def _used_by(name: str) -> list[str]:
    words = set(re.findall(r"\w+", _text(name)))
    return [n for n in ORDER if n in words]
