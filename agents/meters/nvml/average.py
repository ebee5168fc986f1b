"""The 1 s mean of power (field 185) as a meter of its own, for scopes that have no energy counter.

Where a counter counts, the mean says nothing more: it is not read. Without one (the board of a GH200, cards without a
counter) energy is an integral of power, and instant power may see only part of the time, some 25 of every 100 ms; the
mean sees all of it, a second late. Both integrals are kept, each under its meter's name.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml.api import FieldRead, NvmlError
from joulemark.agents.meters.nvml.gpus import Gpu, Gpus
from joulemark.agents.meters.nvml.meter import NvmlMeter
from joulemark.agents.meters.nvml.sources import SCOPES

WANTED = ("gpu_board", "gpu_module")


@dataclass
class Mean:
    """One GPU and the scopes whose mean is read."""

    gpu: Gpu
    channels: tuple[Channel, ...]
    fields: FieldRead

    def read(self, gpus: Gpus) -> list[Reading]:
        """Return one reading per channel."""
        try:
            values: list[int | NvmlError] = gpus.use(self.gpu, self.fields.read)
        except NvmlError as error:
            values = [error] * len(self.channels)
        return [
            Reading(channel, None, None, str(value)) if isinstance(value, NvmlError) else Reading(channel, value, None)
            for channel, value in zip(self.channels, values, strict=True)
        ]


@dataclass
class NvmlAverageMeter:
    """Means beside the instant power of channels without a counter."""

    gpus: Gpus
    means: list[Mean]
    name: str = "nvml-average"

    @classmethod
    def beside(cls, meter: NvmlMeter) -> NvmlAverageMeter | None:
        """Return the meter, or None where every channel counts or has no mean beside its instant power."""
        means = []
        for board in meter.boards:
            powers = meter.offers[board.gpu.uuid].powers
            channels = tuple(
                c
                for c in (s.channel for s in board.plan.sources)
                if c.fidelity == "sampled"
                and c.scope in WANTED
                and {(api.INSTANT, SCOPES[c.scope]), (api.AVERAGE, SCOPES[c.scope])} <= powers
            )
            if channels:
                fields = FieldRead(tuple((api.AVERAGE, SCOPES[c.scope]) for c in channels))
                means.append(Mean(board.gpu, channels, fields))
        return cls(meter.gpus, means) if means else None

    @property
    def channels(self) -> tuple[Channel, ...]:
        """What has no counter."""
        return tuple(c for m in self.means for c in m.channels)

    def read(self) -> list[Reading]:
        """Read every mean."""
        return [r for m in self.means for r in m.read(self.gpus)]

    def describe(self) -> dict[str, object]:
        """Return what it is."""
        return {"source": "NVML field 185", "averaged_over_s": 1.0}
