"""Random numbers that are the same on every machine: Philox counters, one for each purpose and index.

Philox is a counter-based generator (Salmon et al., SC 2011), so that request 10,000 costs no more than request 0, and
no draw depends on how many were made before it. Lengths and arrivals take only its raw 64-bit words: numpy keeps those
the same for ever, but not what its distributions make of them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_WORD = (1 << 64) - 1


class Purpose(IntEnum):
    """What numbers are drawn for; each has its own."""

    PROMPT = 0
    ARRIVALS = 1
    INPUT_LENGTH = 2
    OUTPUT_LENGTH = 3
    ROW = 4
    PREFIX = 5
    GROUP = 6
    ORDER = 7
    ANSWER = 8


@dataclass(frozen=True)
class Seeds:
    """The seed of the workload and that of the trial. ``phase`` keeps prompts of a search apart from those measured."""

    workload: int
    trial: int
    phase: int = 0

    def philox(self, purpose: Purpose, index: int) -> np.random.Philox:
        """Return the generator of ``purpose`` for ``index``, at its beginning."""
        key = np.array([self.workload & _WORD, self.trial & _WORD], dtype=np.uint64)
        counter = np.array([0, self.phase & _WORD, int(purpose), index], dtype=np.uint64)
        return np.random.Philox(counter=counter, key=key)

    def uniforms(self, purpose: Purpose, index: int, count: int) -> Floats:
        """Return ``count`` numbers, uniform in (0, 1), both ends excluded."""
        words = np.asarray(self.philox(purpose, index).random_raw(count), dtype=np.uint64)
        return ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53

    def whole(self, purpose: Purpose, index: int, count: int, low: int, high: int) -> npt.NDArray[np.int64]:
        """Return ``count`` whole numbers, uniform in ``[low, high)``."""
        generator = np.random.Generator(self.philox(purpose, index))
        return generator.integers(low, high, size=count, dtype=np.int64)

    def permutation(self, purpose: Purpose, index: int, size: int) -> npt.NDArray[np.int64]:
        """Return the numbers from 0 to ``size`` (excluded) in random order."""
        return np.argsort(self.uniforms(purpose, index, size), kind="stable")


def phase_of(number: float) -> int:
    """Return a phase that only this number has: its own 64 bits."""
    return int(struct.unpack("<Q", struct.pack("<d", number))[0])
