"""The sampler seen from the agent, which restarts it when it dies."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from joulemark.agents.meters.prometheus.refresh import UPDATES_PER_WINDOW
from joulemark.agents.sampler.protocol import Order, Report, SamplerConfig, line
from joulemark.warehouse.errors import MeterError

ANSWER_S = 20.0
POLL_S = 0.05


@dataclass
class SamplerProcess:
    """A running sampler. ``watts`` is the last total that it reported."""

    config: SamplerConfig
    meters: dict[str, dict[str, object]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    watts: float | None = None
    pids: tuple[int, ...] = ()
    restarts: int = 0
    _process: subprocess.Popen[bytes] | None = None
    _answers: queue.Queue[Report] = field(default_factory=queue.Queue)

    def start(self) -> None:
        """Start sampling. Raises MeterError where no meter can be read."""
        self._launch()

    def watch(self, *pids: int) -> None:
        """Count the CPU time of these process trees from now on (only the CPU model needs it)."""
        self.pids = pids
        self._ask(Order("watch", pids), "watching")

    def wait_for_meters(self) -> tuple[str, ...]:
        """Wait until it is known of every meter that is read over the network whether it will do; return warnings.

        Not for ever: one that is down may come up later.
        """
        needed_s = (self.config.window_s or 0.0) / UPDATES_PER_WINDOW
        slowest_s = max((s.timeout_s for s in self.config.sources), default=0.0)
        deadline = time.monotonic() + 3 * needed_s + slowest_s + ANSWER_S
        while any(m.get("state") == "measuring" for m in self._meters()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return (*self.warnings, *(str(m["warning"]) for m in self._meters() if m.get("warning")))

    @property
    def slowest_s(self) -> float:
        """Seconds until every meter that is read over the network has shown a number that is new since now."""
        times_s = [_next_number_s(m) for m in self._meters() if m.get("state") == "ok"]
        return max(times_s, default=0.0)

    def _meters(self) -> list[dict[str, Any]]:
        return list(self.meters.values())

    def rotate(self) -> Path | None:
        """Close the present segment and return it; sampling goes on in the next."""
        segment = self._ask(Order("rotate"), "rotated").segment
        return Path(segment) if segment else None

    def stop(self) -> None:
        """End sampling; what was sampled stays in its segment."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait(ANSWER_S)

    def _launch(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "joulemark.agents.sampler"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        threading.Thread(target=self._listen, args=(self._process,), daemon=True).start()
        self._send(line(self.config))
        ready = self._answer("ready")
        self.meters, self.warnings = ready.meters or {}, ready.warnings

    def _ask(self, order: Order, answer: str) -> Report:
        try:
            self._send(line(order))
            return self._answer(answer)
        except MeterError:
            # It died: what it wrote is on disk, and the gap will show in the data.
            self.restarts += 1
            self._launch()
            if self.pids and order.do != "watch":
                self._ask(Order("watch", self.pids), "watching")
            self._send(line(order))
            return self._answer(answer)

    def _send(self, text: bytes) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(text)
            self._process.stdin.flush()
        except OSError as error:
            raise MeterError("the sampler ended") from error

    def _answer(self, what: str) -> Report:
        try:
            report = self._answers.get(timeout=ANSWER_S)
        except queue.Empty as error:
            raise MeterError(f"the sampler did not answer in {ANSWER_S:g} s") from error
        if report.what != what:
            raise MeterError(report.error or "the sampler ended")
        return report

    def _listen(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        for text in process.stdout:
            report = msgspec.json.decode(text, type=Report)
            if report.what == "watts":
                self.watts = report.watts
            elif report.what == "meters":
                self.meters |= report.meters or {}
            else:
                self._answers.put(report)
        if process is self._process:
            self._answers.put(Report("failed", error="the sampler ended"))


def _next_number_s(meter: dict[str, Any]) -> float:
    """Return how long a scraped meter takes to show a number that is new: a refresh, a scrape, and its answer."""
    parts = (meter.get("update_period_s"), meter.get("period_s"), meter.get("read_s"))
    return sum(float(p) for p in parts if p is not None)
