"""How long each request's prompt and answer are: drawn in blocks, so that any request can be asked for at once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from joulemark.workloads.traffic.draws import Floats, Purpose, Seeds
from joulemark.workloads.workload import Length

BLOCK = 1024
"""Requests whose lengths are drawn at a time."""
KEPT_BLOCKS = 8
Z90 = 1.2815515655446004
"""The 90th percentile of the standard normal distribution."""
Whole = npt.NDArray[np.int64]


class Lengths(Protocol):
    """Pairs of lengths."""

    def of(self, number: int) -> tuple[int, int]:
        """Return prompt and answer length of request ``number``, in tokens."""


@dataclass
class DrawnLengths:
    """Lengths from distributions and tables. ``tables`` has the column of each length that is one of a table."""

    input: int | Length
    output: int | Length
    tables: Mapping[Length, Whole]
    seeds: Seeds
    _blocks: dict[int, tuple[list[int], list[int]]] = field(default_factory=dict)

    def of(self, number: int) -> tuple[int, int]:
        """Return prompt and answer length of request ``number``, in tokens."""
        block, place = divmod(number, BLOCK)
        if block not in self._blocks:
            if len(self._blocks) > KEPT_BLOCKS:
                self._blocks.clear()
            self._blocks[block] = (
                self._draw(self.input, Purpose.INPUT_LENGTH, block).tolist(),
                self._draw(self.output, Purpose.OUTPUT_LENGTH, block).tolist(),
            )
        inputs, outputs = self._blocks[block]
        return inputs[place], outputs[place]

    @property
    def _pairs(self) -> bool:
        """Whether both lengths come from one file, so that they are taken from one row."""
        both = (self.input, self.output)
        return all(isinstance(b, Length) and b.table for b in both) and both[0].table == both[1].table  # type: ignore[union-attr]

    def _draw(self, length: int | Length, purpose: Purpose, block: int) -> Whole:
        if not isinstance(length, Length):
            return np.full(BLOCK, length, dtype=np.int64)
        if length.kind == "table":
            column = self.tables[length]
            draw = self.seeds.uniforms(Purpose.ROW if self._pairs else purpose, block, BLOCK)
            rows = (draw * len(column)).astype(np.int64)
            return clipped(column[rows], length)
        return clipped(np.rint(_quantiles(length, self.seeds.uniforms(purpose, block, BLOCK))), length)


@dataclass(frozen=True)
class TraceLengths:
    """The lengths of a trace's rows, from the first again after the last."""

    input: Whole
    output: Whole

    def of(self, number: int) -> tuple[int, int]:
        """Return prompt and answer length of request ``number``, in tokens."""
        row = number % len(self.input)
        return int(self.input[row]), int(self.output[row])


@dataclass(frozen=True)
class MixedLengths:
    """The prompt lengths of one, the answer lengths of another."""

    input: Lengths
    output: Lengths

    def of(self, number: int) -> tuple[int, int]:
        """Return prompt and answer length of request ``number``, in tokens."""
        return self.input.of(number)[0], self.output.of(number)[1]


def clipped(values: npt.NDArray[np.int64] | Floats, length: Length) -> Whole:
    """Return ``values`` held within the bounds of ``length``."""
    return np.clip(values, length.least, length.most).astype(np.int64)


def lognormal_parameters(length: Length) -> tuple[float, float]:
    """Return mean and standard deviation of the logarithm."""
    if length.median is not None and length.p90 is not None:
        return math.log(length.median), math.log(length.p90 / length.median) / Z90
    assert length.mean is not None
    assert length.stdev is not None
    variance = math.log1p((length.stdev / length.mean) ** 2)
    return math.log(length.mean) - variance / 2, math.sqrt(variance)


def _quantiles(length: Length, uniforms: Floats) -> Floats:
    if length.kind == "uniform":
        return length.least + np.floor(uniforms * (length.most - length.least + 1))
    # Loaded here, since it takes a tenth of a second and fixed lengths do without.
    from scipy.special import ndtri

    normal = np.asarray(ndtri(uniforms), dtype=np.float64)
    if length.kind == "lognormal":
        mu, sigma = lognormal_parameters(length)
        return np.exp(mu + sigma * normal)
    assert length.mean is not None
    assert length.stdev is not None
    return length.mean + length.stdev * normal
