"""The sampler seen from the agent, which restarts it when it dies."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import msgspec

from joulemark.agents.clock import boot_id
from joulemark.agents.meters.prometheus.refresh import UPDATES_PER_WINDOW
from joulemark.agents.sampler.protocol import Order, Report, SamplerConfig, Timing, line
from joulemark.warehouse.errors import MeterError
from joulemark.warehouse.units import NS_PER_US

COMMAND = (sys.executable, "-m", "joulemark.agents.sampler")
ANSWER_S = 20.0
RESTART_S, SLOWEST_RESTART_S = 0.05, 10.0
LIVED_WELL_S = 30.0
POLL_S = 0.05


class SamplerDied(MeterError):
    """The sampler ended before it answered."""


@dataclass
class Child:
    """One process that samples, from its start to its end."""

    process: subprocess.Popen[bytes]
    answers: Queue[Report] = field(default_factory=Queue)
    news: dict[str, dict[str, object]] = field(default_factory=dict)
    """What it said later of its meters."""

    @classmethod
    def start(cls, command: tuple[str, ...]) -> Child:
        """Start it; it waits for its configuration."""
        return cls(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True))

    def send(self, message: msgspec.Struct) -> None:
        """Tell it something. Raises SamplerDied."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line(message))
            self.process.stdin.flush()
        except (OSError, ValueError) as error:
            # Its end of the pipe is gone, or ours is: it was told to end.
            raise SamplerDied("the sampler ended") from error

    def answer(self, what: str) -> Report:
        """Wait for an answer. Raises SamplerDied, or MeterError with what it said was wrong."""
        try:
            report = self.answers.get(timeout=ANSWER_S)
        except Empty as error:
            self.process.kill()
            raise SamplerDied(f"the sampler did not answer in {ANSWER_S:g} s") from error
        if report.what == "failed":
            raise SamplerDied(report.error or "the sampler ended")
        if report.what != what:
            raise MeterError(f"the sampler said {report.what!r} where {what!r} was due")
        return report

    def end(self) -> None:
        """Let it write what it has and end; after a while without that, end it."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            self.process.kill()


@dataclass
class SamplerProcess:
    """A sampler that is kept running. ``watts`` is the last total that it reported, ``restarts`` how often it died.

    Every start is a run of its own, with a name that this class makes.
    """

    config: SamplerConfig
    command: tuple[str, ...] = COMMAND
    meters: dict[str, dict[str, object]] = field(default_factory=dict)
    timings: dict[str, Timing] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    watts: float | None = None
    pids: tuple[int, ...] = ()
    restarts: int = 0
    run: str = ""
    """The run that may be writing now; the files of every other one are nobody's."""
    _begun: str = field(default_factory=lambda: f"{boot_id()[:8]}-{time.time_ns() // NS_PER_US}")
    _latest: Child | None = None
    _serving: Child | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)
    _asking: threading.Lock = field(default_factory=threading.Lock)
    _stopping: bool = False

    def start(self) -> None:
        """Start sampling. Raises MeterError where no meter can be read."""
        child = self._launch()
        self._greet(child)
        threading.Thread(target=self._keep, args=(child,), name="sampler", daemon=True).start()

    def watch(self, *pids: int) -> None:
        """Take these process trees for the deployment's: the CPU model counts them, on GPUs all others are foreign."""
        self.pids = pids
        self._ask(Order("watch", pids), "watching")

    def rotate(self) -> list[Path]:
        """Close the present segments and return them; sampling goes on in the next."""
        return [Path(segment) for segment in self._ask(Order("rotate"), "rotated").segments]

    def stop(self) -> None:
        """End sampling; what was sampled stays in its segments."""
        with self._asking, self._changed:
            self._stopping, child = True, self._latest
        if child is not None:
            child.end()

    @property
    def pid(self) -> int:
        """The process that samples now."""
        assert self._latest is not None
        return self._latest.process.pid

    def wait_for_meters(self) -> tuple[str, ...]:
        """Wait until it is known of every meter that is read over the network whether it will do; return warnings.

        Not for ever: one that is down may come up later.
        """
        needed_s = (self.config.window_s or 0.0) / UPDATES_PER_WINDOW
        slowest_s = max((s.timeout_s for s in self.config.sources), default=0.0)
        deadline = time.monotonic() + 3 * needed_s + slowest_s + ANSWER_S
        while any(m.get("state") == "measuring" for m in self._described()) and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return (*self.warnings, *(str(m["warning"]) for m in self._described() if m.get("warning")))

    def _described(self) -> list[dict[str, Any]]:
        return list(self.meters.values())

    @property
    def settle_s(self) -> float:
        """Time after which every meter has been read, and its counter has changed, past an instant just gone by."""
        slowest_s = [max(t.every_s, t.update_s or 0.0) for t in self.timings.values()]
        # A mean over a second tells of its middle.
        means_s = [float(str(m.get("averaged_over_s", 0))) for m in self._described()]
        remote_s = [_next_number_s(m) for m in self._described() if m.get("state") == "ok"]
        return max(3 * max(slowest_s, default=self.config.period_s), *means_s, *remote_s)

    def _ask(self, order: Order, answer: str) -> Report:
        """Ask, and once more where the sampler dies over it: what it wrote is on disk, and the gap is in the data."""
        with self._asking:
            asked: Child | None = None
            while True:
                child = self._living(asked)
                try:
                    child.send(order)
                    return child.answer(answer)
                except SamplerDied:
                    if asked is not None:
                        raise
                    asked = child

    def _living(self, not_this: Child | None) -> Child:
        with self._changed:
            self._changed.wait_for(lambda: self._serving not in (None, not_this), ANSWER_S)
            if self._serving is None or self._serving is not_this:
                raise MeterError(f"the sampler ended and did not come back in {ANSWER_S:g} s")
            return self._serving

    def _launch(self) -> Child:
        with self._changed:
            if self._stopping:
                raise SamplerDied("the sampler was stopped")
            # What was measured of the meters holds on: a restart must not cost another second of probing.
            config = msgspec.structs.replace(
                self.config,
                run=f"{self._begun}-{self.restarts:03d}",
                pids=self.pids,
                timings={**self.config.timings, **self.timings},
            )
            self.run = config.run
            child = Child.start(self.command)
            self._latest = child
        threading.Thread(target=self._listen, args=(child,), name="sampler says", daemon=True).start()
        child.send(config)
        return child

    def _greet(self, child: Child) -> None:
        ready = child.answer("ready")
        with self._changed:
            self.meters = (ready.meters or {}) | child.news
            self.timings, self.warnings = ready.timings, ready.warnings
            self._serving = child
            self._changed.notify_all()

    def _keep(self, child: Child) -> None:
        """Start the sampler again whenever it ends: at once where it had lived well, slower and slower where not."""
        wait_s = RESTART_S
        while True:
            begun = time.monotonic()
            child.process.wait()
            with self._changed:
                if self._stopping:
                    return
                self._serving = self.watts = None
            lived_well = time.monotonic() - begun > LIVED_WELL_S
            wait_s = RESTART_S if lived_well else min(2 * wait_s, SLOWEST_RESTART_S)
            time.sleep(wait_s)
            self.restarts += 1
            try:
                child = self._launch()
                self._greet(child)
            except MeterError:
                # It ended again, or is being stopped: the next round sees which.
                continue

    def _listen(self, child: Child) -> None:
        assert child.process.stdout is not None
        for text in child.process.stdout:
            report = msgspec.json.decode(text, type=Report)
            if report.what == "watts":
                self.watts = report.watts
            elif report.what == "meters":
                with self._changed:
                    child.news |= report.meters or {}
                    self.meters = self.meters | child.news
            else:
                child.answers.put(report)
        child.answers.put(Report("failed", error="the sampler ended"))


def _next_number_s(meter: dict[str, Any]) -> float:
    """Return how long a scraped meter takes to show a number that is new: a refresh, a scrape, and its answer."""
    parts = (meter.get("update_period_s"), meter.get("period_s"), meter.get("read_s"))
    return sum(float(p) for p in parts if p is not None)
