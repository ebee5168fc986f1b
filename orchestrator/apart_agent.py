"""The agents of an engine's node and of its load client's node, asked as if they were one.

The load is timed on the clock of the engine's node, as far as the driver knows how the two differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, replace

from joulemark.agents.orders import Loaded, LoadOrder, StartOrder, StartResult, TrialOrder, TrialResult
from joulemark.orchestrator.gang import Member
from joulemark.warehouse.errors import DiskFull, JoulemarkError, NodeLost
from joulemark.warehouse.schema.trial import ClientApart

POLL_S = 0.1
COMPARED_S = 15.0
"""How long two clocks may take to be compared for the first time."""


@dataclass(frozen=True)
class ApartAgent:
    """The engine runs with ``own``, the load comes from ``client``. A node that is lost raises NodeLost.

    A client that cannot go on is ``refused`` with the reason, and counts as lost.
    """

    own: Member
    client: Member
    refused: Callable[[JoulemarkError], None]

    def start_engine(self, order: StartOrder) -> StartResult:
        """Start the engine where the other node reaches it."""
        return self.own.agent.start_engine(replace(order, listen=self.own.address))

    def run_trial(self, order: TrialOrder) -> TrialResult:
        """Run the trial on the one, with the load from the other."""
        self._wait_compared()
        before = self._shift()
        target = self.own.agent.begin_trial(order)
        try:
            loaded = self._carried(
                LoadOrder(order, target, before[0] if before else 0, f"{self.own.facts.node} {order.lane}")
            )
        except BaseException:
            with suppress(JoulemarkError):
                # Where that is lost too, it is said of the load.
                self.own.agent.drop_trial(order.lane)
            raise
        return self.own.agent.end_trial(order.lane, replace(loaded, apart=self._apart(before)))

    def stop_engine(self, lane: int) -> None:
        """End the engine."""
        self.own.agent.stop_engine(lane)

    def _carried(self, order: LoadOrder) -> Loaded:
        """Have the load carried. Raises NodeLost for either node, without waiting for the load's end."""
        pool = ThreadPoolExecutor(1, thread_name_prefix=f"load of {order.source}")
        carried = pool.submit(self.client.agent.carry, order)
        pool.shutdown(wait=False)
        while not wait([carried], POLL_S).done:
            if self.own.agent.lost is not None:
                with suppress(JoulemarkError):
                    self.client.agent.end_load(order.trial.trial)
                raise self.own.agent.lost
        try:
            return carried.result()
        except DiskFull as error:
            self.refused(error)
            raise NodeLost(f"{self.client.facts.node}: {error}") from error

    def _wait_compared(self) -> None:
        give_up = time.monotonic() + COMPARED_S
        while self._shift() is None and time.monotonic() < give_up:
            time.sleep(POLL_S)

    def _shift(self) -> tuple[int, int] | None:
        """Return the engine's clock less the client's, and how far that may be off."""
        own, client = self.own.clock(), self.client.clock()
        if own is None or client is None:
            return None
        return client.offset_us - own.offset_us, client.uncertainty_us + own.uncertainty_us

    def _apart(self, before: tuple[int, int] | None) -> ClientApart:
        """Return where the client was, with what its clock did meanwhile."""
        after, node = self._shift(), self.client.facts.node
        if before is None or after is None:
            return ClientApart(node, before[0] if before else 0, None)
        return ClientApart(node, before[0], max(before[1], abs(after[0] - before[0]) + after[1]))
