"""Progress on stderr: a live block on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from joulemark.orchestrator.progress import NodeLine, Snapshot, step

PLAIN_EVERY_S = 5.0
REFRESH_PER_S = 4
SHOWN = 12
"""Nodes, or lanes of nodes, that have a line of their own."""


class Terminal:
    """Shows snapshots while the block lasts, and what is told above them."""

    def __init__(self, snapshot: Callable[[], Snapshot]) -> None:
        self._snapshot = snapshot
        self._console = Console(stderr=True, highlight=False)
        self._live: Live | None = None
        self._over = threading.Event()
        self._last_news: list[tuple[str, str | None, str]] = []

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(
                get_renderable=lambda: block(self._snapshot()),
                console=self._console,
                refresh_per_second=REFRESH_PER_S,
                transient=True,
            )
            self._live.start()
        else:
            threading.Thread(target=self._plain, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._live is not None:
            self._live.stop()

    def tell(self, text: str) -> None:
        """Print one line that stays. Where the terminal is gone, the sweep goes on to its end without it."""
        try:
            if self._live is not None:
                self._console.print(text, markup=False, soft_wrap=True)
            else:
                print(text, file=sys.stderr, flush=True)
        except OSError:
            self._over.set()

    def _plain(self) -> None:
        due = time.monotonic()
        while not self._over.wait(0.5):
            snapshot = self._snapshot()
            # What is being installed or started is news at once, numbers every few seconds.
            news = [(n.node, n.trial, step(n.doing)) for n in snapshot.nodes[:SHOWN]]
            if news != self._last_news or time.monotonic() >= due:
                self._last_news, due = news, time.monotonic() + PLAIN_EVERY_S
                self.tell(line(snapshot))


def line(snapshot: Snapshot) -> str:
    """Return a snapshot as one plain line."""
    doing = " | ".join(node_texts(snapshot)) or "waiting for nodes"
    return f"[{counts(snapshot)}] {doing}"


def block(snapshot: Snapshot) -> RenderableType:
    """Return a snapshot as a bar with a line per node."""
    done = snapshot.had + snapshot.valid
    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text(snapshot.sweep, style="bold"),
        ProgressBar(total=max(1, snapshot.wanted), completed=done, width=30),
        Text(counts(snapshot)),
    )
    return Group(head, *(Text(f"  {text}", overflow="ellipsis", no_wrap=True) for text in node_texts(snapshot)))


def node_texts(snapshot: Snapshot) -> list[str]:
    """Return what the first nodes do, and of the others how many do what."""
    rest = Counter(step(n.doing) for n in snapshot.nodes[SHOWN:])
    others = [f"{len(snapshot.nodes) - SHOWN} more: " + ", ".join(f"{k} {what}" for what, k in rest.most_common())]
    return [*map(_node_text, snapshot.nodes[:SHOWN]), *(others if rest else [])]


def counts(snapshot: Snapshot) -> str:
    """Return how far it is, what went wrong, and the time left."""
    parts = [f"trial {min(snapshot.wanted, snapshot.had + snapshot.valid + 1)} of {snapshot.wanted}"]
    if snapshot.state == "ended":
        parts = [f"{snapshot.had + snapshot.valid} of {snapshot.wanted} trials"]
    if snapshot.invalid:
        parts.append(f"{snapshot.invalid} invalid attempts")
    if snapshot.failed:
        parts.append(f"{snapshot.failed} failed attempts")
    if snapshot.left_s is not None:
        parts.append(f"about {duration(snapshot.left_s)} left, ends {at(snapshot.left_s)}")
    return ", ".join(parts)


def ends_at(left_s: float) -> datetime:
    """Return when something ends that takes this long from now, in local time."""
    return datetime.now(UTC).astimezone() + timedelta(seconds=left_s)


def at(left_s: float) -> str:
    """Return when something ends that takes this long from now, for people: the day only where it is another one."""
    end, today = ends_at(left_s), ends_at(0.0)
    return f"at {end:%H:%M}" if end.date() == today.date() else f"on {end:%a %d %b at %H:%M}"


def duration(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def _node_text(node: NodeLine) -> str:
    numbers = []
    if node.tokens_per_s is not None:
        numbers.append(f"{node.tokens_per_s:.0f} tokens/s")
    if node.watts is not None:
        numbers.append(f"{node.watts:.1f} W")
    what = f"{node.trial}: {node.doing}" if node.trial else node.doing
    return f"{node.node}: {what}" + (f"; {', '.join(numbers)}" if numbers else "")
