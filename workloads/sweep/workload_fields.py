"""The fields of ``workload``: one reader each, from a place in the file to a checked value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from joulemark.workloads.document import Item
from joulemark.workloads.sweep.engine_fields import refuse_secret
from joulemark.workloads.sweep.presets import PRESETS
from joulemark.workloads.sweep.workload_model import FileAsk, LengthAsk, PromptsAsk, TraceAsk, WorkloadAsk
from joulemark.workloads.traffic.tables import UNITS_PER_S
from joulemark.workloads.workload import Conversation, Load, Prefix, Stretch

ARRIVALS = ("closed", "constant", "poisson", "gamma", "trace")
STOPS = ("fixed", "natural")
_DISTRIBUTIONS = {
    "uniform": ("min", "max"),
    "normal": ("mean", "stdev", "min", "max"),
    "lognormal": ("mean", "stdev", "median", "p90", "min", "max"),
}


def workload_value(item: Item) -> WorkloadAsk:
    """Return a workload: the name of a preset, or a mapping of fields (``preset`` gives those not named)."""
    if not isinstance(item.value, dict):
        return _preset(item)
    fields = item.fields((*WORKLOAD_FIELDS, "request", "preset"), "workload")
    base = _preset(fields["preset"]) if "preset" in fields else WorkloadAsk({})
    read = {key: fields[key] for key in WORKLOAD_FIELDS if key in fields}
    found = {key: None if value.value is None else _READERS[key](value) for key, value in read.items()}
    request = fields["request"].mapping("request parameters as a mapping") if "request" in fields else {}
    for key in request:
        refuse_secret(key, Item(None, fields["request"].keys[key]))
    values = {key: value.scalar(f"a text, number, true, false or null for {key}") for key, value in request.items()}
    return WorkloadAsk(found, values, {key: item.keys[key] for key in found}).over(base)


def rate_value(item: Item) -> float:
    """Return requests per second, above 0."""
    return _positive(item, "rate (requests/s)")


def burstiness_value(item: Item) -> float:
    """Return the shape of the gaps' gamma distribution, above 0."""
    return _positive(item, "burstiness")


def load_value(item: Item) -> Load:
    """Return a load: a fraction of the highest sustained throughput, or a percentile of a trace's load."""
    fields = item.fields(("fraction", "percentile"), "load")
    if len(fields) != 1:
        raise item.error("load is either a fraction or a percentile: write load: {fraction: 0.9}")
    if "fraction" in fields:
        fraction = _positive(fields["fraction"], "fraction")
        if fraction > 2:
            raise fields["fraction"].error(f"fraction is a share of the highest throughput, such as 0.9: {fraction:g}")
        return Load(fraction=fraction)
    percentile = fields["percentile"].number("percentile")
    if percentile > 100:
        raise fields["percentile"].error(f"percentile must be at most 100, found {percentile:g}")
    return Load(percentile=percentile)


def _preset(item: Item) -> WorkloadAsk:
    preset = PRESETS[item.one_of(PRESETS, "workload preset")]
    return WorkloadAsk(preset.fields, {}, dict.fromkeys(preset.fields, item.where))


def _positive(item: Item, what: str) -> float:
    value = item.number(what)
    if value <= 0:
        raise item.error(f"{what} must be above 0, found {value:g}")
    return value


def _length(key: str) -> Callable[[Item], int | LengthAsk]:
    def read(item: Item) -> int | LengthAsk:
        if not isinstance(item.value, dict):
            return item.whole(key, least=1)
        return _from_file(item, key) if "file" in item.value else _distribution(item, key)

    return read


def _from_file(item: Item, key: str) -> LengthAsk:
    fields = item.fields(("file", "column", "min", "max"), key)
    column = fields["column"].text("column") if "column" in fields else None
    return LengthAsk("table", *_bounds(item, fields), file=_file(fields["file"]), column=column)


def _distribution(item: Item, key: str) -> LengthAsk:
    every = tuple(dict.fromkeys(k for keys in _DISTRIBUTIONS.values() for k in keys))
    fields = item.fields(("distribution", *every, "file", "column"), key, required=("distribution",))
    kind = fields["distribution"].one_of(_DISTRIBUTIONS, "distribution")
    for name in fields:
        if name != "distribution" and name not in _DISTRIBUTIONS[kind]:
            raise fields[name].error(f"a {kind} distribution has no {name}: it has {', '.join(_DISTRIBUTIONS[kind])}")
    least, most = _bounds(item, fields)
    if most is None:
        raise item.error(f"{key} lacks the key 'max': the engine is made ready for the longest")
    if kind == "uniform":
        return LengthAsk(kind, least, most)
    names = ("mean", "stdev", "median", "p90")
    numbers: dict[str, float] = {name: _positive(fields[name], name) for name in names if name in fields}
    if set(numbers) not in ({"mean", "stdev"}, {"median", "p90"}):
        also = ", or median and p90" if kind == "lognormal" else ""
        raise item.error(f"a {kind} distribution needs mean and stdev{also}")
    if "p90" in numbers and numbers["p90"] <= numbers["median"]:
        raise fields["p90"].error(f"p90 must be above the median, found {numbers['p90']:g}")
    mean, stdev, median, p90 = (numbers.get(name) for name in names)
    return LengthAsk(kind, least, most, mean, stdev, median, p90)


def _bounds(item: Item, fields: dict[str, Item]) -> tuple[int, int | None]:
    least = fields["min"].whole("min", least=1) if "min" in fields else 1
    most = fields["max"].whole("max", least=1) if "max" in fields else None
    if most is not None and most < least:
        raise item.error(f"max must be at least min ({least}), found {most}")
    return least, most


def _file(item: Item, what: str = "file") -> FileAsk:
    return FileAsk(item.text(f"{what}, a path"), item.where)


def _ramp(item: Item) -> tuple[Stretch, ...]:
    fields = item.fields(("from", "to", "over"), "ramp", required=("from", "to", "over"))
    ends = fields["from"].number("from"), fields["to"].number("to")
    if max(ends) <= 0:
        raise item.error("a ramp needs a rate above 0 at one end")
    return (Stretch(*ends, _lasting(fields["over"], "over")),)


def _steps(item: Item) -> tuple[Stretch, ...]:
    found = []
    for step in item.elements():
        fields = step.fields(("rate", "for"), "step", required=("rate", "for"))
        rate = fields["rate"].number("rate")
        found.append(Stretch(rate, rate, _lasting(fields["for"], "for")))
    if not any(s.to_per_s for s in found):
        raise item.error("steps need a rate above 0: write steps: [{rate: 2, for: 60s}, {rate: 8, for: 60s}]")
    return tuple(found)


def _lasting(item: Item, what: str) -> float:
    duration_s = item.duration_s(what)
    if duration_s <= 0:
        raise item.error(f"{what} must be longer than nothing")
    return duration_s


def _trace(item: Item) -> TraceAsk:
    if isinstance(item.value, str):
        return TraceAsk(_file(item))
    known = ("file", "columns", "unit", "speed", "max_input_tokens", "max_output_tokens")
    fields = item.fields(known, "trace", required=("file",))
    columns = {}
    if "columns" in fields:
        named = fields["columns"].fields(("time", "input", "output"), "columns", required=("time",))
        columns = {key: value.text(key) for key, value in named.items()}
    limits = {key: fields[key].whole(key, least=1) for key in known[4:] if key in fields}
    return TraceAsk(
        file=_file(fields["file"]),
        columns=columns,
        unit=fields["unit"].one_of(UNITS_PER_S, "unit of time") if "unit" in fields else None,
        speed=_positive(fields["speed"], "speed") if "speed" in fields else 1.0,
        **limits,
    )


def _prompts(item: Item) -> PromptsAsk:
    if isinstance(item.value, str):
        return PromptsAsk(_file(item))
    fields = item.fields(("file", "max_input_tokens"), "prompts", required=("file",))
    longest = fields["max_input_tokens"].whole("max_input_tokens", least=1) if "max_input_tokens" in fields else None
    return PromptsAsk(_file(fields["file"]), longest)


def _prefix(item: Item) -> Prefix:
    fields = item.fields(("tokens", "groups"), "prefix", required=("tokens",))
    groups = fields["groups"].whole("groups", least=1) if "groups" in fields else 1
    return Prefix(fields["tokens"].whole("tokens", least=1), groups)


def _conversation(item: Item) -> Conversation:
    fields = item.fields(("turns", "pause"), "conversation", required=("turns",))
    pause_s = fields["pause"].duration_s("pause") if "pause" in fields else 0.0
    return Conversation(fields["turns"].whole("turns", least=2), pause_s)


_READERS: dict[str, Callable[[Item], Any]] = {
    "input_tokens": _length("input_tokens"),
    "output_tokens": _length("output_tokens"),
    "arrivals": lambda item: item.one_of(ARRIVALS, "kind of arrivals"),
    "rate": rate_value,
    "burstiness": burstiness_value,
    "ramp": _ramp,
    "steps": _steps,
    "trace": _trace,
    "load": load_value,
    "max_in_flight": lambda item: item.whole("max_in_flight", least=1),
    "prefix": _prefix,
    "conversation": _conversation,
    "prompts": _prompts,
    "tokenizer": lambda item: _file(item, "tokenizer"),
    "stop": lambda item: item.one_of(STOPS, "way to stop"),
    "seed": lambda item: item.whole("seed"),
}
WORKLOAD_FIELDS = tuple(_READERS)
