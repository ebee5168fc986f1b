"""Readings of a ring as rows of the ``power`` dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from joulemark.agents.spool.ring import NO_ENERGY, NO_POWER, NODE, SEPARATOR, Ring
from joulemark.warehouse.schema.columns import INSTANT
from joulemark.warehouse.schema.traces import POWER

CHANNEL_PARTS = 4
"""meter, device, scope, fidelity"""
ENCODED = POWER.numbered(pa.uint16())
"""What a segment holds of the dataset."""


@dataclass
class PowerRows:
    """Makes batches of the dataset from readings of one ring. Its texts are turned into columns once each."""

    ring: Ring
    _names: tuple[Any, ...] = ()
    _reasons: Any = None

    def batch(self, first: int, end: int) -> pa.RecordBatch:
        """Return readings ``first`` to ``end`` (not included) as one batch with the columns of ``ENCODED``."""
        records = self.ring.records(first, end)
        if self._reasons is None or len(self._reasons) < len(self.ring.codes):
            self._learn(self.ring.texts())
        channels, reasons = pa.array(records["channel"]), records["reason"]
        columns = [
            *(pa.DictionaryArray.from_arrays(channels, names, safe=False) for names in self._names),
            pa.array(records["t"]).view(INSTANT),
            pa.array(records["power"], mask=records["power"] == NO_POWER),
            pa.array(records["energy"], mask=records["energy"] == NO_ENERGY),
            pa.DictionaryArray.from_arrays(pa.array(reasons, mask=reasons == 0), self._reasons, safe=False),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=ENCODED)

    def _learn(self, texts: list[str]) -> None:
        split = [text.split(SEPARATOR) for text in texts]
        names = [[texts[NODE], *(parts if len(parts) == CHANNEL_PARTS else [""] * CHANNEL_PARTS)] for parts in split]
        self._names = tuple(pa.array(column) for column in zip(*names, strict=True))
        self._reasons = pa.array(texts)
