"""Readings on their way to the page of metrics that each node of Ray has. Without a Ray session nothing happens."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

import ray
from ray.util.metrics import Counter, Gauge

from joulemark.orchestrator.metrics import Metric, Reading

EVERY_S = 2.0
"""Ray forgets a gauge that was not set for two of its own periods, which are of 10 s."""


class Exporter:
    """Hands readings to Ray, which sends them by itself: no call waits for anything."""

    def __init__(self, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._due = 0.0
        self._series: dict[str, Any] = {}
        self._lock = threading.Lock()

    def sometimes(self, readings: Callable[[], Iterable[Reading]]) -> None:
        """Export readings, unless that was done a moment ago."""
        with self._lock:
            if time.monotonic() < self._due:
                return
            self._due = time.monotonic() + self._every_s
        self.export(readings())

    def export(self, readings: Iterable[Reading]) -> None:
        """Set gauges to what they are, and raise counters."""
        if not ray.is_initialized():
            return
        for reading in readings:
            tags = dict(zip(reading.metric.tags, reading.tags, strict=True))
            series = self._of(reading.metric)
            if reading.metric.kind == "gauge":
                series.set(reading.value, tags)
            else:
                series.inc(reading.value, tags)

    def _of(self, metric: Metric) -> Any:
        with self._lock:
            if metric.name not in self._series:
                kind = Gauge if metric.kind == "gauge" else Counter
                self._series[metric.name] = kind(metric.name, f"{metric.help} ({metric.unit})", metric.tags)
            return self._series[metric.name]
