"""Each request's share of its trial's window energy: equal among the requests active at each instant.

Shares add up by construction: the window is cut at every start and end of a request, and the energy of each piece is
divided among those active in it. What falls into pieces where none is active is the unallocated rest.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from joulemark.warehouse.build.curve import Curve
from joulemark.warehouse.schema.trial import Interval

Instants = NDArray[np.int64]
Floats = NDArray[np.float64]


def equal_shares(edges_j: Floats, edges_us: Instants, sent_us: Instants, done_us: Instants) -> tuple[Floats, float]:
    """Return each request's energy in joules, and the rest.

    ``edges_us`` are all distinct instants at which a request starts or ends, the window's edges included, ascending;
    ``edges_j`` the cumulative energy at each. ``sent_us`` and ``done_us`` are clipped to the window.
    """
    pieces_j = np.diff(edges_j)
    first, last = np.searchsorted(edges_us, sent_us), np.searchsorted(edges_us, done_us)
    active = active_requests(len(edges_us), first, last)
    per_request_j = np.divide(pieces_j, active, out=np.zeros_like(pieces_j), where=active > 0)
    cumulative_j = np.concatenate(([0.0], np.cumsum(per_request_j)))
    return cumulative_j[last] - cumulative_j[first], float(pieces_j[active == 0].sum())


def active_requests(edges: int, first: Instants, last: Instants) -> Instants:
    """Return how many requests are active between each two edges; each is from one edge to another, by number."""
    changes = np.bincount(first, minlength=edges) - np.bincount(last, minlength=edges)
    return np.cumsum(changes)[:-1]


def window_edges(window: Interval, sent_us: Instants, done_us: Instants) -> tuple[Instants, Instants, Instants]:
    """Return the distinct instants at which activity changes, and both inputs clipped to the window."""
    sent_us = np.clip(sent_us, window.start_us, window.end_us)
    done_us = np.maximum(sent_us, np.clip(done_us, window.start_us, window.end_us))
    edges = np.array([window.start_us, window.end_us], dtype=np.int64)
    every = np.sort(np.concatenate((edges, sent_us, done_us)))
    return every[np.concatenate(([True], every[1:] > every[:-1]))], sent_us, done_us


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
