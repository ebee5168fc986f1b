"""The agents of several nodes with one deployment, asked as if they were one: the head's serves and carries the load.

Instants of the head's clock are put on the others' by what the driver knows of both clocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from joulemark.agents.orders import PartOrder, RankEnd, StartOrder, StartResult, TrialOrder, TrialResult
from joulemark.orchestrator.gang import Member
from joulemark.warehouse.errors import JoulemarkError
from joulemark.warehouse.schema.trial import Interval, NodePart
from joulemark.workloads.engines.adapter import Span

Result = TypeVar("Result", StartResult, TrialResult)
Asked = TypeVar("Asked")
Given = TypeVar("Given")


@dataclass
class SpanAgent:
    """Starts all ranks together, and ends them all where one of them ends. Any node that is lost raises NodeLost."""

    head: Member
    others: tuple[Member, ...]
    _ends: dict[Future[RankEnd | None], Member] = field(default_factory=dict)
    """Who waits for the end of which node's rank."""

    def start_engine(self, order: StartOrder) -> StartResult:
        """Prepare all nodes, then start all ranks; return the serving one's start, or how another one failed."""
        orders = [replace(order, devices=m.devices, lane=m.lane) for m in self._all]
        results = self._each(lambda m, o: m.agent.prepare_engine(o), self._all, orders)
        if not any(r.failure_class for r in results):
            port = self.head.agent.free_ports()
            results = self._start([replace(o, span=Span(i, self.head.address, port)) for i, o in enumerate(orders)])
        started = self._merged(order, results)
        if started.failure_class is not None:
            self.stop_engine()
        return started

    def run_trial(self, order: TrialOrder) -> TrialResult:
        """Run the trial on the head; every node gives its part of it."""
        with ThreadPoolExecutor(1) as pool:
            result = self._unless_ended(pool.submit(self.head.agent.run_trial, replace(order, lane=self.head.lane)))
        orders = [self._part_order(m, result) for m in self.others]
        parts = self._each(lambda m, o: m.agent.part_of_trial(o), self.others, orders)
        return replace(
            result,
            outcome="done" if result.failure_class is None else "failed",
            others=tuple(p.part for p in parts),
            traces=(*result.traces, *(t for p in parts for t in p.traces)),
            reasons=tuple(dict.fromkeys((*result.reasons, *(r for p in parts for r in p.reasons)))),
        )

    def stop_engine(self, lane: int = 0) -> None:  # noqa: ARG002 -- each member has a lane of its own
        """End all ranks."""
        self._ends.clear()
        self._each(lambda m, lane: m.agent.stop_engine(lane), self._all, [m.lane for m in self._all])

    @property
    def _all(self) -> tuple[Member, ...]:
        return (self.head, *self.others)

    def _start(self, ranks: Sequence[StartOrder]) -> list[StartResult]:
        """Start the ranks: the serving one is ready once it has found the others."""
        with ThreadPoolExecutor(1) as pool:
            serving = pool.submit(self.head.agent.start_engine, ranks[0])
            try:
                begun = self._each(lambda m, o: m.agent.start_engine(o), self.others, ranks[1:])
            except BaseException:
                self._abandon()
                raise
            if any(r.failure_class for r in begun):
                self._abandon()
                return [serving.result(), *begun]
            self._ends = {_waits_for_end(m): m for m in self.others}
            return [self._unless_ended(serving), *begun]

    def _unless_ended(self, doing: Future[Result]) -> Result:
        """Return what the head gives; where a rank of another node ended meanwhile, that is how it failed."""
        running: list[Future[Any]] = [doing, *self._ends]
        done, _ = wait(running, return_when=FIRST_COMPLETED)
        ended = next((e for e in done if e in self._ends), None)
        if doing in done or ended is None:
            return doing.result()
        self._abandon()
        given, end = doing.result(), ended.result()
        if end is None:
            return given
        error = f"on {self._ends[ended].facts.node}: {end.error}"
        return replace(given, failure_class=end.failure_class, error=error, engine_log=end.engine_log)

    def _abandon(self) -> None:
        with suppress(JoulemarkError):
            # A head that is lost says so to whoever waits for it.
            self.head.agent.abandon(self.head.lane)

    def _merged(self, order: StartOrder, results: Sequence[StartResult]) -> StartResult:
        """Return the nodes' starts as one: the head's, or the failure of another, which the head's may follow from."""
        head, *rest = results
        accelerator = order.deployment.accelerator
        members = zip(self.others, rest, strict=True)
        others = tuple(NodePart(m.facts.node, m.facts.boot, r.devices, accelerator) for m, r in members)
        merged = replace(head, others=others)
        for part, result in zip(others, rest, strict=True):
            if result.failure_class is not None:
                error = f"on {part.node}: {result.error}"
                return replace(merged, failure_class=result.failure_class, error=error, engine_log=result.engine_log)
        return merged

    def _part_order(self, member: Member, result: TrialResult) -> PartOrder:
        head, other = self.head.clock(), member.clock()
        shift_us = None if head is None or other is None else head.offset_us - other.offset_us
        return PartOrder(
            member.lane,
            result.started_us + (shift_us or 0),
            _shifted(result.part.window, shift_us),
            _shifted(result.part.loaded_idle, shift_us),
        )

    def _each(
        self, call: Callable[[Member, Asked], Given], members: Sequence[Member], orders: Sequence[Asked]
    ) -> list[Given]:
        """Ask these members at the same time. Raises what went wrong with the first with which something did."""
        with ThreadPoolExecutor(len(members)) as pool:
            return list(pool.map(call, members, orders))


def _waits_for_end(member: Member) -> Future[RankEnd | None]:
    # A pool of its own, whose thread ends with the rank: nobody waits for it.
    pool = ThreadPoolExecutor(1, thread_name_prefix=f"rank on {member.facts.node}")
    end = pool.submit(member.agent.rank_ended, member.lane)
    pool.shutdown(wait=False)
    return end


def _shifted(interval: Interval | None, shift_us: int | None) -> Interval | None:
    """Return an interval on another clock; None where it is not known how far the clocks are apart."""
    if interval is None or shift_us is None:
        return None
    return Interval(interval.start_us + shift_us, interval.end_us + shift_us)
