"""The whole way: the client's rows in a warehouse, and the figures of the views against the script's truth.

What the truth is, is computed here from the instants that the server recorded, by NumPy, without the client's rows.
The client sees every event a little after it left. All of its times therefore lie between the truth and the truth plus
the largest lateness of the run; quantiles keep that. A second comparison has no such room: the same figures from the
client's own rows must be equal to the last digit.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
from answers import Answer, Step
from client_run import run, us
from synthetic import Spec, manifest

from joulemark.agents.clock import NodeClock
from joulemark.warehouse.query.open import open_warehouse
from joulemark.warehouse.schema import DATASETS
from joulemark.warehouse.schema.trial import Interval
from joulemark.warehouse.store.layout import trial_file
from joulemark.warehouse.store.location import Warehouse
from joulemark.warehouse.store.manifests import commit
from joulemark.warehouse.store.parquet import write_table
from joulemark.workloads.workload import Workload

INPUT, CACHED, TOKENS = 7, 3, 16
ANSWERS = (
    # Different in all respects, so that a percentile taken of the wrong thing is far off.
    Answer((Step(0.15), *[Step(0.02)] * 15), input_tokens=INPUT, cached_tokens=CACHED),
    Answer((Step(0.05, 4), Step(0.09, 4), Step(0.03, 4), Step(0.06, 4)), input_tokens=INPUT, cached_tokens=CACHED),
    Answer((Step(0.10, 2), Step(0.20, 14)), input_tokens=INPUT, cached_tokens=CACHED, tail_s=0.05),
    Answer((Step(0.08, 1), Step(0.01, 10)), input_tokens=INPUT, cached_tokens=CACHED, output_tokens=TOKENS),
    Answer.refusal(429),
)
UNTIMED = {3: 5}
REFUSAL = 4
QUANTILES = (0.5, 0.9, 0.99)


@pytest.fixture(scope="module")
def measured(playing, tmp_path_factory):
    """Run the client, commit its rows as a trial, and return the run and the row of ``trial_tokens``."""
    spec = Spec(output_tokens=TOKENS, concurrency=6)
    with playing(*ANSWERS, order=(0, 1, 2, 3, 0, 1, 2, 3, 1, REFUSAL)) as server:
        told = run(
            server,
            tmp_path_factory.mktemp("spool"),
            Workload(INPUT, TOKENS, 6, seed=1),
            trial=spec.trial,
            node=spec.nodes[0],
            window_s=3.0,
        )
    warehouse = Warehouse.at(tmp_path_factory.mktemp("w") / "warehouse")
    trace = write_table(warehouse, DATASETS["requests"], trial_file("requests", spec.trial), told.table)
    window = Interval(told.result.window_start_us, told.result.window_end_us)
    whole = manifest(spec, window.start_us - 30_000_000, (trace,))
    commit(warehouse, replace(whole, nodes=tuple(replace(p, window=window) for p in whole.nodes)))
    with open_warehouse(warehouse) as connection:
        (row,) = connection.sql("from trial_tokens").to_pylist()
    return told, window, row


class Truth:
    """What the server did, in microseconds of the node clock, for the requests that a window holds."""

    def __init__(self, told, window):
        self.told, self.window, self.clock = told, window, NodeClock.of_this_node()
        whole = [p for p in told.pairs if p.attempts[0].answer is not ANSWERS[REFUSAL]]
        # Whether a request ended inside is the client's to say: the server does not know when its last byte was read.
        self.inside = [p for p in whole if window.start_us <= us(p.row["ended_at"]) < window.end_us]
        self.whole = whole

    def left_us(self, pair):
        return np.array([self.clock.at_us(int(t)) for t in pair.played.events[0]])

    def read_us(self, pair):
        return self.clock.at_us(pair.played.began_ns)

    def ttft_us(self):
        return np.array([self.left_us(p)[0] - self.read_us(p) for p in self.inside])

    def e2e_us(self):
        return np.array([self.left_us(p)[-1] - self.read_us(p) for p in self.inside])

    def tpot_us(self):
        """Time per token after the first event: its tokens came before there was anything to time."""
        spans = [(self.left_us(p), p.played.events[1]) for p in self.inside]
        return np.array([(left[-1] - left[0]) / tokens[1:].sum() for left, tokens in spans])

    def itl_us(self):
        """Every token after the first event has a gap: the event's, in equal parts."""
        gaps = [
            np.repeat(np.diff(self.left_us(p)) / p.played.events[1][1:], p.played.events[1][1:]) for p in self.inside
        ]
        return np.concatenate(gaps)

    def tokens_between(self, start_us, end_us):
        return sum(
            int(p.played.events[1][(self.left_us(p) >= start_us) & (self.left_us(p) < end_us)].sum())
            for p in self.whole
        )


@pytest.fixture(scope="module")
def truth(measured):
    told, window, _ = measured
    return Truth(told, window)


@pytest.fixture(scope="module")
def late_us(truth):
    """The most that any event was seen late, or any request was read late, in this run."""
    sending = [truth.read_us(p) - p.sent_us for p in truth.whole]
    late = np.concatenate([p.late_us for p in truth.whole])
    assert min(sending) >= 0
    assert late.min() >= 0
    assert np.median(late) < 20_000
    return float(late.max() + max(sending) + 3)


@pytest.mark.parametrize(("name", "most"), [("ttft", 1), ("e2e", 1), ("tpot", 1), ("itl", 2)])
def test_percentiles_are_the_truths(measured, truth, late_us, name, most):
    """Times from the send can only be longer than the truth; times between events also shorter."""
    _, _, row = measured
    expected = np.quantile(getattr(truth, f"{name}_us")(), QUANTILES)
    got = np.array([row[f"{name}_p{round(q * 100)}_ms"] * 1e3 for q in QUANTILES])
    least = 0 if name in ("ttft", "e2e") else most * late_us
    assert (got >= expected - least - 3).all(), (got, expected, late_us)
    assert (got <= expected + most * late_us).all(), (got, expected, late_us)


def test_percentiles_are_those_of_the_rows_to_the_last_digit(measured, truth):
    _, _, row = measured
    rows = [p for p in truth.inside if p.row["status"] == "ok"]
    ttft, e2e, tpot, itl = [], [], [], []
    for pair in rows:
        arrivals, counts = pair.arrivals_us, np.array(pair.counts)
        ttft.append(arrivals[0] - pair.sent_us)
        e2e.append(arrivals[-1] - pair.sent_us)
        tpot.append((arrivals[-1] - arrivals[0]) / counts[1:].sum())
        itl.append(np.repeat(np.diff(arrivals) / counts[1:], counts[1:]))
    for name, values in (("ttft", ttft), ("e2e", e2e), ("tpot", tpot), ("itl", np.concatenate(itl))):
        got = [row[f"{name}_p{round(q * 100)}_ms"] * 1e3 for q in QUANTILES]
        assert got == pytest.approx(np.quantile(values, QUANTILES).tolist(), rel=1e-9), name


def test_tokens_of_the_window(measured, truth, late_us):
    """Those that left in it, but for those so close to an edge that being seen late decides."""
    _, window, row = measured
    least = truth.tokens_between(window.start_us, window.end_us - late_us)
    most = truth.tokens_between(window.start_us - late_us, window.end_us)
    assert least <= row["output_tokens"] <= most
    assert least > 100
    assert row["output_tokens_per_s"] == pytest.approx(row["output_tokens"] / window.seconds)


def test_input_cached_and_untimed_tokens(measured, truth):
    _, window, row = measured
    begun = [p for p in truth.whole if window.start_us <= us(p.row["first_token_at"]) < window.end_us]
    assert (row["input_tokens"], row["cached_tokens"]) == (INPUT * len(begun), CACHED * len(begun))
    untimed = sum(UNTIMED.get(ANSWERS.index(p.played.answer), 0) for p in truth.inside)
    assert row["untimed_tokens"] == untimed > 0
    assert row["token_mismatches"] == 0


def test_requests_that_ended_well_and_that_did_not(measured, truth):
    told, window, row = measured
    refused = [p for p in told.pairs if p.attempts[0].answer is ANSWERS[REFUSAL]]
    inside = [p for p in refused if window.start_us <= us(p.row["ended_at"]) < window.end_us]
    assert (row["requests_completed"], row["requests_failed"]) == (len(truth.inside), len(inside))
    assert inside
    assert row["on_other_clock"] == 0
    assert json.loads(told.truth.requests[0].body)["max_tokens"] == TOKENS
