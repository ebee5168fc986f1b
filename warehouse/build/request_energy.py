"""Each request's share of its trial's window energy: equal among the requests active at each instant.

Shares add up by construction: the window is cut at every start and end of a request, and the energy of each piece is
divided among those active in it. What falls into pieces where none is active is the unallocated rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulemark.warehouse.build.curve import Curve
from joulemark.warehouse.schema.trial import Interval

Instants = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Activity:
    """When activity changes in a window: all distinct instants at which a request starts or ends, ascending.

    The window's own edges are among them. Each request, clipped to the window, is active from the edge number ``first``
    to the edge number ``last``.
    """

    edges_us: Instants
    first: Instants
    last: Instants

    @classmethod
    def of(cls, window: Interval, sent_us: Instants, done_us: Instants) -> Activity:
        """Return the activity of requests that are active from one instant to another."""
        # np.clip looks up the limits of the type at every call.
        sent_us = np.minimum(np.maximum(sent_us, window.start_us), window.end_us)
        done_us = np.maximum(sent_us, np.minimum(np.maximum(done_us, window.start_us), window.end_us))
        edges = np.array([window.start_us, window.end_us], dtype=np.int64)
        every_us = np.concatenate((sent_us, done_us, edges))
        order = np.argsort(every_us)
        sorted_us = every_us[order]
        new = np.empty(len(every_us), dtype=np.bool_)
        new[0] = True
        np.greater(sorted_us[1:], sorted_us[:-1], out=new[1:])
        number = np.empty(len(every_us), dtype=np.int64)
        number[order] = np.cumsum(new) - 1
        return cls(sorted_us[new], number[: len(sent_us)], number[len(sent_us) : -2])

    @property
    def requests(self) -> Instants:
        """How many requests are active between each two edges."""
        return active_requests(len(self.edges_us), self.first, self.last)


def equal_shares(edges_j: Floats, activity: Activity) -> tuple[Floats, float]:
    """Return each request's energy in joules, and the rest; ``edges_j`` is the cumulative energy at each edge."""
    pieces_j = np.diff(edges_j)
    active = activity.requests
    per_request_j = np.divide(pieces_j, active, out=np.zeros_like(pieces_j), where=active > 0)
    cumulative_j = np.concatenate(([0.0], np.cumsum(per_request_j)))
    return cumulative_j[activity.last] - cumulative_j[activity.first], float(pieces_j[active == 0].sum())


def active_requests(edges: int, first: Instants, last: Instants) -> Instants:
    """Return how many requests are active between each two edges; each is from one edge to another, by number."""
    changes = np.bincount(first, minlength=edges) - np.bincount(last, minlength=edges)
    return np.cumsum(changes)[:-1]


def cumulative_j(curves: Sequence[tuple[Curve, Interval]], edges_us: Instants, client_window: Interval) -> Floats:
    """Return the summed energy of all devices at each edge, since the window's start.

    The window is the same stretch of time on every node's clock, which is how instants of the client's node are
    found on another node's.
    """
    total_j = np.zeros(len(edges_us))
    length_us = client_window.end_us - client_window.start_us
    for curve, window in curves:
        since_us = edges_us - client_window.start_us
        if window.end_us - window.start_us != length_us:
            since_us = np.rint(since_us * ((window.end_us - window.start_us) / length_us)).astype(np.int64)
        energy_j = curve.at_j(window.start_us + since_us)
        total_j += energy_j - energy_j[0]
    return total_j
