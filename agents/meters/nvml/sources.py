"""What one GPU's sensors offer: found out once by asking for everything, so that each later read is one call.

``gpu_board``: the GPU with its memory, as its own sensor sees it. ``gpu_memory``: the memory alone. ``gpu_module``: a
superchip, CPU included. Power is the instant field (186) wherever the card has it. The 1 s mean (185) is what is read
for scopes that have no instant value; beside an instant value it is a meter of its own (``NvmlAverageMeter``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from joulemark.agents.meters.meter import Channel
from joulemark.agents.meters.nvml import api
from joulemark.agents.meters.nvml.api import Field, FieldRead, Handle, NvmlError

SCOPES = {"gpu_board": api.SCOPE_GPU, "gpu_module": api.SCOPE_MODULE, "gpu_memory": api.SCOPE_MEMORY}
POWERS: tuple[Field, ...] = tuple((field, scope) for field in (api.INSTANT, api.AVERAGE) for scope in SCOPES.values())


@dataclass(frozen=True)
class Offer:
    """What a card answered when it was asked for everything: values in milliwatts and millijoules."""

    energy: bool
    plain_energy: bool
    powers: frozenset[Field]
    plain_power: bool

    @property
    def module(self) -> bool:
        """Whether it is part of a superchip that says what it draws as a whole."""
        return any(scope == api.SCOPE_MODULE for _, scope in self.powers)

    def power(self, scope: int) -> Field | None:
        """Return the field to read power from in a scope."""
        return next((f for f in ((api.INSTANT, scope), (api.AVERAGE, scope)) if f in self.powers), None)


USUAL = Offer(energy=True, plain_energy=False, powers=frozenset({(api.INSTANT, api.SCOPE_GPU)}), plain_power=False)
"""What a card is taken to have that cannot be asked yet."""


@dataclass(frozen=True)
class Source:
    """Where one channel's numbers stand in the answer: indexes into ``fields``, None where it has no such number.

    ``plain_power`` and ``plain_energy`` say that they come from the calls of older cards instead.
    """

    channel: Channel
    power: int | None = None
    energy: int | None = None
    plain_power: bool = False
    plain_energy: bool = False


@dataclass(frozen=True)
class Sources:
    """All channels of one GPU, and the fields to ask for in one call."""

    fields: tuple[Field, ...]
    sources: tuple[Source, ...]


def offer(handle: Handle) -> Offer:
    """Ask a card for everything and return what it has."""
    values = _answers(handle, (api.ENERGY, *POWERS))
    energy = _has(values[api.ENERGY])
    # Boards that know a scope but have no sensor for it answer 0; the board itself may be asleep at 0.
    powers = frozenset(f for f in POWERS if _has(values[f]) and (values[f] or f[1] == api.SCOPE_GPU))
    instant = (api.INSTANT, api.SCOPE_GPU) in powers
    plain_energy = not energy and _works(api.energy_mj, handle)
    return Offer(energy, plain_energy, powers, not instant and _works(api.power_mw, handle))


def sources(uuid: str, offered: Offer, counter_scope: str, *, module: bool) -> Sources:
    """Return how to read a GPU. ``counter_scope`` is what its counter counts.

    ``module`` is False where another GPU of the same superchip already reports for it.
    """
    fields: list[Field] = []

    def place(field: Field | None) -> int | None:
        if field is None:
            return None
        if field not in fields:
            fields.append(field)
        return fields.index(field)

    found = []
    counts = offered.energy or offered.plain_energy
    for scope, number in SCOPES.items():
        if scope == "gpu_module" and not (module and offered.module):
            continue
        own_counter = counts and counter_scope == scope
        power = offered.power(number)
        plain = scope == "gpu_board" and offered.plain_power and power is None
        if power is None and not plain and not own_counter:
            continue
        channel = Channel(uuid, scope, "counter" if own_counter else "sampled")
        energy = place(api.ENERGY) if own_counter and offered.energy else None
        found.append(Source(channel, place(power), energy, plain, own_counter and offered.plain_energy))
    return Sources(tuple(fields), tuple(found))


def _answers(handle: Handle, fields: tuple[Field, ...]) -> Mapping[Field, int | NvmlError]:
    try:
        return dict(zip(fields, FieldRead(fields).read(handle), strict=True))
    except NvmlError as error:
        if error.gone:
            raise
        # Some drivers refuse the whole list for one field that they do not know.
        return {field: _answer(handle, field) for field in fields}


def _answer(handle: Handle, field: Field) -> int | NvmlError:
    try:
        return FieldRead((field,)).read(handle)[0]
    except NvmlError as error:
        return error


def _has(answer: int | NvmlError) -> bool:
    return not isinstance(answer, NvmlError)


def _works(call: Callable[[Handle], int], handle: Handle) -> bool:
    try:
        call(handle)
    except NvmlError:
        return False
    return True
