"""How many tokens of answers came in each stretch of a window, from the token traces of one trial's requests."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from joulemark.warehouse.schema.trial import Interval


def answer_tokens(requests: pa.Table, window: Interval, bin_us: int) -> NDArray[np.float64]:
    """Return the tokens in each whole bin of the window but the first of each answer: that comes out of the prompt.

    ``requests`` has the columns ``sent_at``, ``chunk_dt_us`` and ``chunk_tokens`` of the dataset.
    """
    bins = (window.end_us - window.start_us) // bin_us
    lengths = _numbers(pc.fill_null(pc.list_value_length(requests["chunk_dt_us"]), 0))
    sent_us = _numbers(requests["sent_at"].cast(pa.int64()))[lengths > 0]
    tokens = _tokens(requests["chunk_tokens"], lengths)
    lengths = lengths[lengths > 0]
    first = np.cumsum(lengths) - lengths
    tokens[first] -= 1
    since_us = np.cumsum(_numbers(pc.list_flatten(requests["chunk_dt_us"])))
    # Gaps add up within a request, from when it was sent.
    before_us = np.concatenate(([0], since_us))[first]
    place = (since_us + np.repeat(sent_us - before_us - window.start_us, lengths)) // bin_us
    inside = (place >= 0) & (place < bins)
    return np.bincount(place[inside], weights=tokens[inside], minlength=bins).astype(np.float64)


def _tokens(column: pa.ChunkedArray, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the tokens of each chunk: one where the trace says nothing else."""
    tokens = np.ones(int(lengths.sum()), dtype=np.int64)
    said = column.is_valid().to_numpy()
    tokens[np.repeat(said, lengths)] = _numbers(pc.list_flatten(column))
    return tokens


def _numbers(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(column.to_numpy(), dtype=np.int64)
