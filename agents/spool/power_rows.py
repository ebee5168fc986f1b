"""Readings of a ring as rows of the ``power`` dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from joulemark.agents.spool.ring import NO_ENERGY, NO_POWER, NODE, SEPARATOR, Ring
from joulemark.warehouse.schema.columns import INSTANT
from joulemark.warehouse.schema.traces import POWER

CHANNEL_PARTS = 4
"""meter, device, scope, fidelity"""


@dataclass
class PowerRows:
    """Makes batches of the dataset from readings of one ring. Its texts are turned into columns once each."""

    ring: Ring
    _texts: Any = None
    _parts: tuple[Any, ...] = ()

    def batch(self, first: int, end: int) -> pa.RecordBatch:
        """Return readings ``first`` to ``end`` (not included) as one batch of the dataset."""
        records = self.ring.records(first, end)
        if self._texts is None or len(self._texts) < len(self.ring.codes):
            self._learn(self.ring.texts())
        channel = pa.array(records["channel"])
        columns = [
            self._texts.take(pa.array(np.full(len(records), NODE))),
            *(part.take(channel) for part in self._parts),
            pa.array(records["t"]).view(INSTANT),
            pa.array(records["power"], mask=records["power"] == NO_POWER),
            pa.array(records["energy"], mask=records["energy"] == NO_ENERGY),
            self._texts.take(pa.array(records["reason"])),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=POWER.arrow)

    def _learn(self, texts: list[str]) -> None:
        self._texts = pa.array([text or None for text in texts])
        split = [text.split(SEPARATOR) for text in texts]
        channels = [parts if len(parts) == CHANNEL_PARTS else [""] * CHANNEL_PARTS for parts in split]
        self._parts = tuple(pa.array([c[part] for c in channels]) for part in range(CHANNEL_PARTS))
