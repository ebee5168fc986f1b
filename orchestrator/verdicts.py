"""Verdicts on trials while the nodes go on: what was committed meanwhile is judged together."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from queue import SimpleQueue

from joulemark.warehouse.schema.traces import REQUESTS
from joulemark.warehouse.schema.trial import TrialManifest
from joulemark.warehouse.store.location import Warehouse

Reasons = tuple[str, ...]
Verdict = Future[Reasons]
"""The reasons against a trial, none where it is valid, once they are known."""
REQUESTS_AT_ONCE = 50_000
"""Requests whose traces are in memory at the same time, unless a single trial has more."""


def known(reasons: Reasons) -> Verdict:
    """Return a verdict that needs no look."""
    verdict: Verdict = Future()
    verdict.set_result(reasons)
    return verdict


@dataclass
class Verdicts:
    """A thread that judges. ``judge`` says of several trials what speaks against each."""

    judge: Callable[[Sequence[TrialManifest]], Mapping[str, Reasons]]
    _asked: SimpleQueue[tuple[TrialManifest, Verdict] | None] = field(default_factory=SimpleQueue)
    _thread: threading.Thread | None = None

    def ask(self, manifest: TrialManifest) -> Verdict:
        """Ask for the verdict on a committed trial; a failed one has failed, whatever its records say."""
        if manifest.outcome != "done":
            return known(())
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="verdicts", daemon=True)
            self._thread.start()
        verdict: Verdict = Future()
        self._asked.put((manifest, verdict))
        return verdict

    def close(self) -> None:
        """End when all that was asked is answered."""
        self._asked.put(None)
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        open_ = True
        while open_:
            asked: list[tuple[TrialManifest, Verdict]] = []
            requests = 0
            while not asked or (not self._asked.empty() and requests < REQUESTS_AT_ONCE):
                one = self._asked.get()
                if one is None:
                    open_ = False
                    break
                asked.append(one)
                requests += _requests(one[0])
            if asked:
                self._answer(asked)

    def _answer(self, asked: Sequence[tuple[TrialManifest, Verdict]]) -> None:
        try:
            found = self.judge([m for m, _ in asked])
        except Exception as error:  # noqa: BLE001 -- it is raised where the verdict is waited for
            for _, verdict in asked:
                verdict.set_exception(error)
            return
        for manifest, verdict in asked:
            verdict.set_result(found[manifest.trial])


@contextmanager
def judging(warehouse: Warehouse) -> Iterator[Verdicts]:
    """Judge what is committed to a warehouse for as long as the block lasts."""
    # DuckDB takes a while to load, and most commands do without it.
    from joulemark.warehouse.build.judge import Judge

    judge = Judge(warehouse)
    verdicts = Verdicts(judge.reasons)
    try:
        yield verdicts
    finally:
        verdicts.close()
        judge.close()


def _requests(manifest: TrialManifest) -> int:
    return sum(t.rows for t in manifest.traces if t.dataset == REQUESTS.name)
