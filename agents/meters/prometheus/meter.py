"""A meter whose readings come from the pages of an exporter.

Every page has a thread of its own, which waits for the network and hands over what came; ``read`` takes that and never
waits. Only the lines of the mapping's metrics are parsed, once a second unless told otherwise: a busy thread would cost
the meters beside it their cadence.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

import msgspec

from joulemark.agents.meters.meter import Channel, Reading
from joulemark.agents.meters.prometheus.channels import Channels, Value
from joulemark.agents.meters.prometheus.fetch import Page, fetch
from joulemark.agents.meters.prometheus.mapping import mapping_of
from joulemark.agents.meters.prometheus.refresh import Refresh
from joulemark.warehouse.errors import MeterError
from joulemark.warehouse.units import NS_PER_US
from joulemark.workloads.meters import MeterSource

WAITING = 1 << 14
OLDEST_S = 600.0
FASTEST_S, USUAL_S = 0.2, 1.0
TAKEN_S = 0.1
"""How often the sampler takes what came: that costs next to nothing, and is soon safe from a kill."""


@dataclass
class Target:
    """One page, scraped again and again. ``state`` is ``measuring``, ``ok`` or ``failed``, and ``error`` says why."""

    url: str
    source: MeterSource
    channels: Channels
    refresh: Refresh
    remedy: str
    state: str = "measuring"
    error: str | None = None
    read_s: deque[float] = field(default_factory=lambda: deque(maxlen=64))
    ready: deque[Reading] = field(default_factory=lambda: deque(maxlen=WAITING))
    _last_ns: dict[Channel, int] = field(default_factory=dict)

    def run(self, stop: threading.Event) -> None:
        """Scrape until ``stop``."""
        due = time.monotonic()
        while not stop.wait(max(0.0, due - time.monotonic())):
            self.scrape()
            due = max(due + self.every_s, time.monotonic())

    @property
    def every_s(self) -> float:
        """Seconds between two scrapes: at least two to every change that the window needs."""
        needed_s = self.refresh.needed_s or USUAL_S
        return self.source.every_s or min(USUAL_S, max(FASTEST_S, needed_s / 2))

    def scrape(self) -> None:
        """Scrape once and hand over one reading per channel."""
        try:
            page = fetch(self.url, self.source.timeout_s)
            self.read_s.append((page.after_ns - page.before_ns) / 1e9)
            self.take(page, time.time_ns())
        except MeterError as error:
            self._fail(str(error))

    def take(self, page: Page, wall_ns: int) -> None:
        """Take a page that has just arrived, at ``wall_ns`` of the wall clock. Raises MeterError."""
        values = self.channels.values(page.body)
        self.refresh.feed(page.midpoint_ns / 1e9, {(v.channel, k): n for v in values for k, n in _numbers(v)})
        if not self.refresh.known(f"{self.source.name}: {self.url}", self.remedy):
            self._put(page.midpoint_ns, f"{self.source.name}: still measuring how often it refreshes")
            return
        self.state, self.error = "ok", None
        for value in values:
            reading = self._reading(value, page, wall_ns)
            if reading.at_ns != self._last_ns.get(value.channel):
                self._last_ns[value.channel] = reading.at_ns or 0
                self.ready.append(reading)

    def _reading(self, value: Value, page: Page, wall_ns: int) -> Reading:
        """Return a value with its instant: the exporter's own where it gives one, else the middle of the request."""
        reading = Reading(value.channel, value.power_mw, value.energy_uj, value.reason, page.midpoint_ns)
        if value.timestamp_s is None:
            return reading
        # Through integers: a float cannot hold nanoseconds since the epoch.
        age_ns = wall_ns - round(value.timestamp_s * 1e6) * NS_PER_US
        if age_ns > OLDEST_S * 1e9:
            why = f"{self.source.name}: the exporter's own timestamp is more than {OLDEST_S:g} s old"
            return Reading(value.channel, None, None, why, page.midpoint_ns)
        # What lies ahead cannot be: its clock differs from ours.
        return msgspec.structs.replace(reading, at_ns=page.after_ns - age_ns) if age_ns >= 0 else reading

    def _fail(self, why: str) -> None:
        self.state, self.error = "failed", why
        self._put(time.monotonic_ns(), why)

    def _put(self, at_ns: int, reason: str) -> None:
        self.ready.extend(Reading(c, None, None, reason, at_ns) for c in self.channels.expected())


@dataclass
class PrometheusMeter:
    """All pages of one entry of the site file."""

    name: str
    source: MeterSource
    targets: list[Target]
    every_s: float = TAKEN_S
    _stop: threading.Event = field(default_factory=threading.Event)
    _told: list[tuple[str, str | None]] = field(default_factory=list)

    @classmethod
    def of(cls, source: MeterSource, node: str, window_s: float | None) -> PrometheusMeter:
        """Return the meter of a node, not yet scraping. Raises BadInput where its mapping is wrong."""
        mapping = mapping_of(source)
        targets = []
        for template in source.urls:
            url = template.replace("{node}", node)
            prefix = f"{_place(url)}:" if len(source.urls) > 1 else ""
            channels = Channels(mapping, source, node, prefix)
            targets.append(Target(url, source, channels, Refresh(window_s, source.refresh_s), mapping.slow))
        return cls(source.name, source, targets)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Those seen so far."""
        return tuple(c for t in self.targets for c in t.channels.expected())

    def start(self) -> None:
        """Begin to scrape."""
        for target in self.targets:
            name = f"scrape {self.name}"
            threading.Thread(target=target.run, args=(self._stop,), name=name, daemon=True).start()

    def stop(self) -> None:
        """End scraping, soon."""
        self._stop.set()

    def read(self) -> list[Reading]:
        """Return what came since the last call, each reading with its own instant; never waits."""
        readings = []
        for target in self.targets:
            while target.ready:
                readings.append(target.ready.popleft())
        return readings

    def news(self) -> bool:
        """Return whether the state of a page has changed since the last call."""
        now = [(t.state, t.error) for t in self.targets]
        changed, self._told = now != self._told, now
        return changed

    @property
    def update_s(self) -> float | None:
        """The refresh period of its slowest page; None where it is not known of one."""
        periods = [t.refresh.period_s for t in self.targets]
        known = [p for p in periods if p is not None]
        return round(max(known), 3) if len(known) == len(periods) else None

    def describe(self) -> dict[str, object]:
        """Return where it reads, how often the numbers there change, and what is wrong with it."""
        states = [t.state for t in self.targets]
        times_s = [s for t in self.targets for s in list(t.read_s)]
        errors = [t.error for t in self.targets if t.error]
        return {
            "source": f"Prometheus, {self.source.exporter or self.source.mapping_file}",
            "urls": [t.url for t in self.targets],
            "state": next((s for s in ("measuring", "failed") if s in states), "ok"),
            "warning": "; ".join(errors) or None,
            "update_period_s": self.update_s,
            "period_s": self.targets[0].every_s,
            "read_s": round(statistics.median(times_s), 4) if times_s else None,
            "mig": {device: list(parts) for t in self.targets for device, parts in t.channels.slices.copy().items()},
        }


def _numbers(value: Value) -> list[tuple[str, int]]:
    pairs = (("power", value.power_mw), ("energy", value.energy_uj))
    return [(name, number) for name, number in pairs if number is not None]


def _place(url: str) -> str:
    """Return what tells one page from another: the target that a page is about, or the host."""
    parts = urlsplit(url)
    target = parse_qs(parts.query).get("target")
    return target[0] if target else parts.netloc
