"""What the client says of its own measurement: exact figures of the window, and what speaks against them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from joulemark.agents.client.job import ClientJob, Done, Ended, Ready
from joulemark.agents.client.merge import Rows, Whole, most_at_once, overlap_us
from joulemark.agents.client.sender import UNSENT
from joulemark.agents.client.steadiness import growth
from joulemark.agents.client.worker import SEARCH_FROM

WINDOW_REQUESTS = 10
"""A window is at least this many median request durations long."""
IN_FLIGHT_AT_LEAST = 0.95
LAG_P99_AT_MOST_US = 5_000
CPU_AT_MOST = 0.80
LATE_AT_MOST_US = 5_000
LATE_SHARE, LATE_FEW = 0.01, 1
"""More requests than this share, and than so few, sent later than that are a schedule that was not kept."""
WENT_BACK = "went back"
NONE: Whole = np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Verdict:
    """Puts the result of a load together from what its workers left."""

    job: ClientJob
    traffic: Ready
    ended: Sequence[Ended]
    start_us: int
    end_us: int
    highest_rate_per_s: float | None = None

    def done(self) -> Done:
        """Return the result."""
        segments = tuple(e.segment for e in self.ended if e.segment is not None)
        rows = Rows.of([Path(s) for s in segments], SEARCH_FROM)
        window = self.start_us, self.end_us
        ended = rows.status[rows.ended_in(*window)]
        lag_us = max((e.lag_p99_us for e in self.ended), default=0)
        cpu = max((e.cpu_fraction for e in self.ended), default=0.0)
        median_us = rows.median_us(*window)
        late_us = rows.late_us(*window) if self.traffic.open_loop else NONE
        too_late = int((late_us > LATE_AT_MOST_US).sum())
        rise, grows = growth(rows.scheduled_us, rows.ended_us, *window)
        fraction = None if self.traffic.open_loop else self._in_flight(rows)
        steady = fraction >= IN_FLIGHT_AT_LEAST if fraction is not None else not (self.traffic.steady and grows)
        reasons = {
            "window_too_short": median_us is None or self.end_us - self.start_us < WINDOW_REQUESTS * median_us,
            "not_steady": not steady,
            "client_bound": lag_us > LAG_P99_AT_MOST_US or cpu > CPU_AT_MOST,
            "schedule_late": too_late > max(LATE_FEW, LATE_SHARE * len(late_us)),
            "token_mismatch": self._contradicted(rows),
        }
        return Done(
            segments=segments,
            window_start_us=self.start_us,
            window_end_us=self.end_us,
            in_flight_fraction=fraction,
            lag_p99_us=lag_us,
            cpu_fraction=cpu,
            median_request_us=median_us,
            completed=int((ended == "ok").sum()),
            failed=int((ended != "ok").sum()),
            reasons=tuple(reason for reason, holds in reasons.items() if holds),
            processes=len(self.ended),
            resent=sum(e.resent for e in self.ended),
            rate_asked_per_s=self._rate(rows.scheduled_us),
            rate_achieved_per_s=self._rate(rows.sent_us[rows.error != UNSENT]),
            late_p99_us=int(np.percentile(late_us, 99, method="higher")) if len(late_us) else None,
            backlog_max=most_at_once(rows.scheduled_us, rows.sent_us, *window) if self.traffic.open_loop else 0,
            in_flight_max=most_at_once(rows.sent_us, rows.ended_us, *window),
            outstanding_growth=rise if self.traffic.open_loop else None,
            highest_rate_per_s=self.highest_rate_per_s,
        )

    def _in_flight(self, rows: Rows) -> float:
        """Return the mean number of streams with a request in flight, or in its pause, over all streams."""
        begin_us = rows.sent_us
        talk = self.job.workload.conversation
        if talk is not None:
            later = rows.request % talk.turns > 0
            begin_us = np.where(later, rows.scheduled_us - round(talk.pause_s * 1e6), rows.sent_us)
        streams = self.job.workload.concurrency
        assert streams is not None
        busy_us = overlap_us(begin_us, rows.ended_us, self.start_us, self.end_us)
        return busy_us / ((self.end_us - self.start_us) * streams)

    def _rate(self, at_us: Whole) -> float | None:
        """Return how many of ``at_us`` lie in the window, per second of it; None in a closed loop."""
        if not self.traffic.open_loop:
            return None
        inside = ((at_us >= self.start_us) & (at_us < self.end_us)).sum()
        return float(inside) / (self.end_us - self.start_us) * 1e6

    def _contradicted(self, rows: Rows) -> bool:
        """Whether an engine's count went back in an answer of the window that is whole otherwise."""
        inside = (rows.status == "ok") & (rows.ended_us > self.start_us) & (rows.sent_us < self.end_us)
        return any(error is not None and WENT_BACK in error for error in rows.error[inside])
