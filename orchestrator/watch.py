"""Watch a sweep from any terminal until it ends: nodes, watts, tokens/s, J/token so far, failures, time left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from joulemark.orchestrator.progress import Snapshot
from joulemark.orchestrator.so_far import EnergySoFar, SoFar
from joulemark.orchestrator.terminal import counts, duration, node_texts
from joulemark.warehouse.errors import QueryError, WarehouseError

SILENT_S = 15.0
"""A driver that has not written for so long is gone."""
ASK_EVERY_S = 20.0
"""The warehouse is not asked more often than this: the machine may be the one that is measured."""
NOT_MEASURED = frozenset({"modelled", "simulated"})


@dataclass
class Watch:
    """What is seen of one sweep. ``load`` gives its progress, ``ask`` what its trials come to."""

    load: Callable[[], Snapshot]
    ask: Callable[[], SoFar]
    every_s: float
    sleep: Callable[[float], None] = time.sleep
    _known: SoFar = field(default_factory=SoFar)
    _asked: tuple[int, int, int] | None = None
    _asked_at: float = 0.0

    def __iter__(self) -> Iterator[tuple[Snapshot, list[str]]]:
        """Yield progress and the lines that show it, again and again, for the last time when the sweep has ended."""
        while True:
            snapshot = self.load()
            ended = snapshot.state == "ended"
            known = self._so_far(snapshot, ended=ended)
            yield snapshot, [*head(snapshot, known), *shown(known), *nodes(snapshot)]
            if ended:
                return
            self.sleep(self.every_s)

    def _so_far(self, snapshot: Snapshot, *, ended: bool) -> SoFar:
        """Return what the trials come to, asked for again only where there are others than before."""
        now = snapshot.valid, snapshot.invalid, snapshot.failed
        due = self._asked is None or ended or time.monotonic() - self._asked_at >= ASK_EVERY_S
        if now != self._asked and due:
            try:
                self._known = self.ask()
                self._asked = now
            except (WarehouseError, QueryError) as error:
                # Records move while a sweep writes them: what was known stays, and says so.
                self._known = SoFar(self._known.energies, self._known.failures, (str(error),))
            self._asked_at = time.monotonic()
        return self._known


def head(snapshot: Snapshot, known: SoFar) -> list[str]:
    """Return how far a sweep is, and what all of its nodes do together."""
    age_s = time.time() - snapshot.updated_s
    lines = [f"{snapshot.sweep}: {snapshot.state}, {counts(snapshot)}"]
    if snapshot.state == "ended":
        return lines
    if age_s > SILENT_S:
        lines.append(f"  {silence(snapshot, age_s)}")
    watts = [n.watts for n in snapshot.nodes if n.watts is not None]
    rates = [n.tokens_per_s for n in snapshot.nodes if n.tokens_per_s is not None]
    now = f"{sum(rates):.0f} tokens/s" if rates else "- tokens/s", f"{sum(watts):.1f} W" if watts else "- W"
    return [*lines, f"  now: {', '.join(now)}{_watts_are(known)} on {len(snapshot.nodes)} node(s)"]


def shown(known: SoFar) -> list[str]:
    """Return what the trials come to so far, and how some failed."""
    energies = [_energy(e) for e in known.energies] or ["- J/token"]
    failures = ", ".join(f"{count} x {name}" for name, count in known.failures) or "none"
    return [*(f"  so far: {e}" for e in energies), f"  failures: {failures}", *(f"  note: {w}" for w in known.warnings)]


def nodes(snapshot: Snapshot) -> list[str]:
    """Return what nodes do now; nothing once the sweep has ended."""
    return [] if snapshot.state == "ended" else [f"  {text}" for text in node_texts(snapshot)]


def silence(snapshot: Snapshot, age_s: float) -> str:
    """Return what it means that nothing has come for so long."""
    return (
        f"its driver (process {snapshot.pid} on {snapshot.host}) has been silent for {duration(age_s)}; "
        "the same `joulemark run` goes on where it stopped"
    )


def _watts_are(known: SoFar) -> str:
    """Return what to know of the watts: nodes say only how many, so it is told by the trials that have ended."""
    kinds = {energy.fidelity for energy in known.energies}
    return f" ({' and '.join(sorted(kinds))}, not measured)" if kinds and kinds <= NOT_MEASURED else ""


def _energy(energy: EnergySoFar) -> str:
    figure = "-" if energy.j_per_token is None else f"{energy.j_per_token:.4g}"
    fidelity = f"{energy.fidelity}, not measured" if energy.fidelity in NOT_MEASURED else energy.fidelity
    return f"{figure} J/token out, boundary {energy.boundary} ({fidelity}), {energy.trials} valid trial(s)"
