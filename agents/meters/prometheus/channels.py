"""From the samples of a page to readings, as a mapping says."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from joulemark.agents.meters.meter import Channel
from joulemark.agents.meters.prometheus.mapping import ALL_LABELS, Mapping, Metric
from joulemark.agents.meters.rapl import POWERCAP
from joulemark.agents.meters.register import Register
from joulemark.agents.prometheus import Sample, samples, samples_of
from joulemark.warehouse.errors import MeterError
from joulemark.warehouse.units import MW_PER_W, UJ_PER_J
from joulemark.workloads.meters import MeterSource

_FIELD = re.compile(r"\{([^{}]+)\}")
_TELLING = re.compile(r"power|watt|joule|energy", re.IGNORECASE)
NOT_TELLING = ("instance", "job", "__name__")
SHOWN = 8
LARGEST_MW, LARGEST_UJ = (1 << 31) - 1, (1 << 63) - 1


@dataclass(frozen=True)
class Value:
    """What a page says of one device in one scope: integers in the units of the record, or why there is none."""

    channel: Channel
    power_mw: int | None = None
    energy_uj: int | None = None
    timestamp_s: float | None = None
    reason: str | None = None


@dataclass
class Channels:
    """The channels of one page. ``slices`` are the slices by shared board, where the page has such lines."""

    mapping: Mapping
    source: MeterSource
    node: str
    prefix: str = ""
    powercap: Path = POWERCAP
    slices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    known: dict[tuple[str, str], Channel] = field(default_factory=dict)
    _registers: dict[tuple[str, str], Register | None] = field(default_factory=dict)
    _offers: dict[tuple[str, int], str] = field(default_factory=dict)

    def values(self, page: bytes) -> list[Value]:
        """Return one value per channel, also for those that this page lacks.

        Raises MeterError, one line that names what the page has, where it lacks what the mapping needs.
        """
        by_name = self._samples(page)
        found: dict[tuple[str, str], dict[str, tuple[Metric, float, Sample]]] = defaultdict(dict)
        for metric in self.mapping.metrics:
            devices = self._devices(metric, by_name.get(metric.metric, []))
            if not devices and not metric.optional:
                raise MeterError(self._lacks(metric.metric, page, by_name))
            for device, several in devices.items():
                value = self._one(metric, device, several)
                found[device, metric.scope].setdefault(metric.kind, (metric, value, several[0]))
        if not found:
            raise MeterError(self._lacks("any metric of the mapping", page, by_name))
        for key, kinds in found.items():
            self.known.setdefault(key, Channel(*key, _fidelity(kinds)))
        return [self._value(key, found.get(key, {})) for key in self.known]

    def expected(self) -> tuple[Channel, ...]:
        """Return the channels that are known; before any page was read, one that stands for them."""
        if self.known:
            return tuple(self.known.values())
        metric = self.mapping.metrics[0]
        whole = set(_FIELD.findall(metric.device)) <= {"node"}
        device = self._named(metric, {}) if whole else self.source.name
        return (Channel(self.prefix + device, metric.scope, metric.fidelity),)

    def _samples(self, page: bytes) -> dict[str, list[Sample]]:
        by_name: dict[str, list[Sample]] = defaultdict(list)
        # Every line has an end, so one without was cut, and its number may be too.
        for sample in samples_of(page[: page.rfind(b"\n") + 1], self.mapping.names):
            by_name[sample.name].append(sample)
        for join in self.mapping.joins:
            texts = {
                tuple(s.labels.get(k) for k in join.on): s.labels.get(join.label) for s in by_name.pop(join.metric, [])
            }
            for sample in _all(by_name) if texts else ():
                text = texts.get(tuple(sample.labels.get(k) for k in join.on))
                if text is not None:
                    sample.labels[join.added] = text
        return by_name

    def _devices(self, metric: Metric, of_metric: Iterable[Sample]) -> dict[str, list[Sample]]:
        devices: dict[str, list[Sample]] = defaultdict(list)
        for sample in of_metric:
            groups = _matched(metric, sample)
            if groups is None or not self._picked(sample):
                continue
            device = self.prefix + self._named(metric, sample.labels | groups)
            devices[device].append(sample)
            part = sample.labels.get(metric.slice_label) if metric.slice_label else None
            if part:
                self.slices[device] = tuple(sorted({part, *self.slices.get(device, ())}))
        return devices

    def _picked(self, sample: Sample) -> bool:
        for label, wanted in self.source.labels.items():
            value = sample.labels.get(label, "")
            if isinstance(wanted, tuple):
                if value not in {w.replace("{node}", self.node) for w in wanted}:
                    return False
            elif not re.fullmatch(wanted.replace("{node}", re.escape(self.node)), value):
                return False
        return True

    def _named(self, metric: Metric, labels: dict[str, str]) -> str:
        if metric.device == ALL_LABELS:
            telling = {k: v for k, v in sorted(labels.items()) if k not in NOT_TELLING}
            return ",".join(f"{k}={v}" for k, v in telling.items()) or self.source.name
        return _FIELD.sub(lambda m: self.node if m[1] == "node" else labels.get(m[1], ""), metric.device)

    def _one(self, metric: Metric, device: str, several: list[Sample]) -> float:
        values = [s.value for s in several]
        if metric.several == "add":
            return math.fsum(values)
        if len(values) > 1 and metric.several == "refuse":
            raise MeterError(
                f"{self.source.name}: {len(values)} samples of {metric.metric} are of the device {device!r}: pick with "
                f"'labels' in the site file, or tell them apart with 'device'; {_labels_of(several)}"
            )
        # Each shows the whole device, read one after the other: the newest of a counter is the largest.
        return max(values)

    def _value(self, key: tuple[str, str], kinds: dict[str, tuple[Metric, float, Sample]]) -> Value:
        channel = self.known[key]
        if not kinds:
            return Value(channel, reason=f"{self.source.name}: not on the page")
        numbers: dict[str, int | None] = {"gauge": None, "counter": None}
        odd = None
        for kind, (metric, value, sample) in kinds.items():
            number = _scaled(metric, value)
            if number is None:
                odd = f"{self.source.name}: {metric.metric} is {value:g}"
            elif metric.wraps:
                number = self._continued(key, sample, number)
            numbers[kind] = number
        stamp = next((s.timestamp_s for _, _, s in kinds.values() if s.timestamp_s is not None), None)
        return Value(channel, numbers["gauge"], numbers["counter"], stamp, odd)

    def _continued(self, key: tuple[str, str], sample: Sample, energy_uj: int) -> int:
        if key not in self._registers:
            self._registers[key] = _register(self.powercap / Path(sample.labels.get("path", "?")).name)
        register = self._registers[key]
        return energy_uj if register is None else register.continued(energy_uj)

    def _lacks(self, what: str, page: bytes, by_name: dict[str, list[Sample]]) -> str:
        head = f"{self.source.name}: the page lacks {what}"
        there = [s for m in self.mapping.metrics for s in by_name.get(m.metric, [])]
        if there:
            return f"{head} with the labels wanted; {_labels_of(there)}"
        # Reading a whole page is slow, and a page that lacks something mostly goes on lacking it.
        key = what, len(page) >> 10
        if key not in self._offers:
            self._offers.clear()
            self._offers[key] = f"{head}; {_offered(page)}"
        return self._offers[key]


def _register(zone: Path) -> Register | None:
    # Everyone may read how far a register counts, also where its value is for root only.
    try:
        return Register.of(zone)
    except (OSError, ValueError):
        return None


def _matched(metric: Metric, sample: Sample) -> dict[str, str] | None:
    """Return the groups of the patterns, None where a label does not match."""
    groups: dict[str, str] = {}
    for label, pattern in metric.where.items():
        found = pattern.fullmatch(sample.labels.get(label, ""))
        if found is None:
            return None
        groups |= {k: v or "" for k, v in found.groupdict().items()}
    return groups


def _scaled(metric: Metric, value: float) -> int | None:
    per, largest = (MW_PER_W, LARGEST_MW) if metric.kind == "gauge" else (UJ_PER_J, LARGEST_UJ)
    number = value * metric.factor * per
    if not math.isfinite(number) or not 0 <= number <= largest or (metric.zero_is_missing and number == 0):
        return None
    return round(number)


def _fidelity(kinds: dict[str, tuple[Metric, float, Sample]]) -> str:
    return (kinds.get("counter") or kinds["gauge"])[0].fidelity


def _all(by_name: dict[str, list[Sample]]) -> Iterator[Sample]:
    for several in by_name.values():
        yield from several


def _offered(page: bytes) -> str:
    names = sorted({s.name for s in samples(page)})
    telling = [n for n in names if _TELLING.search(n)]
    if telling:
        return f"of power or energy it offers {_few(telling)}"
    offers = f"such as {_few(names)}" if names else "is it an exporter of Prometheus metrics?"
    return f"it offers nothing of power or energy among {len(names)} metrics, {offers}"


def _labels_of(several: list[Sample]) -> str:
    texts = sorted({",".join(f"{k}={v}" for k, v in sorted(s.labels.items())) or "no labels" for s in several})
    return f"there are {_few(texts, '; ')}"


def _few(words: list[str], between: str = ", ") -> str:
    more = f"{between}and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return between.join(words[:SHOWN]) + more
