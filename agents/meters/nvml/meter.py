"""NVIDIA GPUs through NVML: energy counter and power of every board, by UUID, in one call per board.

MIG: the numbers are the whole board's whoever asks, so a board is read once and its instances never; ``describe``
names them, and trials on them carry the reason ``mig_shared``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml.api import FieldRead, NvmlError
from joulemark.agents.meters.nvml.gpus import Gpu, Gpus
from joulemark.agents.meters.nvml.sources import USUAL, Offer, Source, Sources, offer, sources
from joulemark.agents.meters.nvml.superchip import counter_scopes, modules

UJ_PER_MJ = 1_000
POWER_OF = {api.INSTANT: "instant (field 186)", api.AVERAGE: "1 s mean (field 185)"}


@dataclass
class Board:
    """One GPU and how to read it."""

    gpu: Gpu
    plan: Sources
    fields: FieldRead | None

    def read(self, gpus: Gpus) -> list[Reading]:
        """Return one reading per channel; all without values where the GPU is gone."""
        try:
            values = gpus.use(self.gpu, self.fields.read) if self.fields is not None else []
        except NvmlError as error:
            return [Reading(s.channel, None, None, str(error)) for s in self.plan.sources]
        return [self._reading(gpus, source, values) for source in self.plan.sources]

    def _reading(self, gpus: Gpus, source: Source, values: list[int | NvmlError]) -> Reading:
        power: int | NvmlError | None = None if source.power is None else values[source.power]
        energy: int | NvmlError | None = None if source.energy is None else values[source.energy]
        if source.plain_power:
            power = self._plain(gpus, "power")
        if source.plain_energy:
            energy = self._plain(gpus, "energy")
        if type(power) is int and type(energy) is int:
            return Reading(source.channel, power, energy * UJ_PER_MJ)
        reason = next((str(v) for v in (energy, power) if isinstance(v, NvmlError)), None)
        return Reading(
            source.channel,
            power if isinstance(power, int) else None,
            energy * UJ_PER_MJ if isinstance(energy, int) else None,
            reason,
        )

    def _plain(self, gpus: Gpus, what: str) -> int | NvmlError:
        try:
            return gpus.use(self.gpu, api.power_mw if what == "power" else api.energy_mj)
        except NvmlError as error:
            return error


@dataclass
class NvmlMeter:
    """All GPUs of the node. ``modules`` are the GPUs of each superchip by the first, which reports for it."""

    gpus: Gpus
    boards: list[Board] = field(default_factory=list)
    modules: dict[str, tuple[str, ...]] = field(default_factory=dict)
    offers: dict[str, Offer] = field(default_factory=dict)
    name: str = "nvml"

    @classmethod
    def found(cls) -> NvmlMeter | None:
        """Return the meter, or None where there is no NVIDIA driver or no GPU.

        Raises NvmlError where a driver is there and cannot be used.
        """
        gpus = Gpus.found()
        return None if gpus is None else cls.of(gpus)

    @classmethod
    def of(cls, gpus: Gpus) -> NvmlMeter:
        """Return the meter of these GPUs; takes a second where there are superchips."""
        offers = {u: _offer(gpus, g) for u, g in gpus.gpus.items()}
        chips = [gpus.gpus[u] for u, o in offers.items() if o.module]
        shared = modules(chips)
        counting = {g.uuid: g.handle for g in chips if offers[g.uuid].energy and g.handle is not None}
        scopes = counter_scopes(counting) if counting else {}
        meter = cls(gpus, modules=shared, offers=offers)
        for uuid, gpu in gpus.gpus.items():
            plan = sources(uuid, offers[uuid], scopes.get(uuid, "gpu_board"), module=uuid in shared)
            meter.boards.append(Board(gpu, plan, FieldRead(plan.fields) if plan.fields else None))
        return meter

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The board of every GPU; its memory and its superchip where they have numbers of their own."""
        return tuple(s.channel for b in self.boards for s in b.plan.sources)

    def close(self) -> None:
        """Let go of the library."""
        self.gpus.close()

    def read(self) -> list[Reading]:
        """Read every board."""
        return [r for b in self.boards for r in b.read(self.gpus)]

    def describe(self) -> dict[str, object]:
        """Return driver, boards, where their power comes from, MIG instances and superchips."""
        all_gpus = self.gpus.gpus.values()
        return {
            "source": "NVML",
            "driver": self.gpus.driver,
            "boards": {g.uuid: g.name for g in all_gpus},
            "power": {b.gpu.uuid: _power_of(b) for b in self.boards},
            "mig": {g.uuid: list(g.mig) for g in all_gpus if g.mig is not None},
            "modules": {first: list(uuids) for first, uuids in self.modules.items()},
        }


def _offer(gpus: Gpus, gpu: Gpu) -> Offer:
    try:
        return gpus.use(gpu, offer)
    except NvmlError:
        # It is gone for now; its readings will say so until it is back.
        return USUAL


def _power_of(board: Board) -> str:
    source = next((s for s in board.plan.sources if s.channel.scope == "gpu_board"), None)
    if source is None or (source.power is None and not source.plain_power):
        return "none"
    if source.power is None:
        return "power usage"
    return POWER_OF[board.plan.fields[source.power][0]]
