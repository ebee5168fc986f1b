"""Readings of a ring as rows of the ``power`` dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from joulemark.agents.spool.ring import NO_ENERGY, NO_POWER, NODE, SEPARATOR, Ring
from joulemark.warehouse.schema.columns import INSTANT, WORD
from joulemark.warehouse.schema.traces import POWER

CHANNEL_PARTS = 4
"""meter, device, scope, fidelity"""


@dataclass
class PowerRows:
    """Makes batches of the dataset from readings of one ring. Its texts are turned into columns once each."""

    ring: Ring
    _names: Any = None
    _reasons: Any = None

    def batch(self, first: int, end: int) -> pa.RecordBatch:
        """Return readings ``first`` to ``end`` (not included) as one batch of the dataset."""
        records = self.ring.records(first, end)
        if self._names is None or self._names.num_rows < len(self.ring.codes):
            self._learn(self.ring.texts())
        reasons = records["reason"]
        columns = [
            *self._names.take(pa.array(records["channel"])).columns,
            pa.array(records["t"]).view(INSTANT),
            pa.array(records["power"], mask=records["power"] == NO_POWER),
            pa.array(records["energy"], mask=records["energy"] == NO_ENERGY),
            self._reasons.take(pa.array(reasons)) if reasons.any() else pa.nulls(len(records), WORD),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=POWER.arrow)

    def _learn(self, texts: list[str]) -> None:
        split = [text.split(SEPARATOR) for text in texts]
        names = [[texts[NODE], *(parts if len(parts) == CHANNEL_PARTS else [""] * CHANNEL_PARTS)] for parts in split]
        columns = [pa.array(column) for column in zip(*names, strict=True)]
        self._names = pa.RecordBatch.from_arrays(columns, schema=pa.schema(list(POWER.arrow)[: len(columns)]))
        self._reasons = pa.array([text or None for text in texts])
