"""The batcher: every request gets exactly its tokens, in order, within the room there is."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel
from joulemark.workloads.models.catalogue import catalogue
from joulemark.workloads.simulation.batching import Batcher, Sequence
from joulemark.workloads.simulation.build import machine_of

REFERENCE = ModelRef("qwen3-0.6b", "hub", "qwen3-0.6b")
MACHINE = machine_of(
    Deployment(REFERENCE, "bf16", "auto", EngineRef("simulated", "1"), "H100", Parallel()),
    catalogue()["qwen3-0.6b"].facts,
)


def run(batcher, sequences, drop=None):
    """Run to the end; return the tokens that each request got, and check every step's load against a plain count."""
    got = dict.fromkeys(sequences, 0)
    for sequence in sequences:
        assert batcher.add(sequence)
    ended = []
    while (step := batcher.plan()) is not None:
        decoding = list(batcher.running)
        assert step.load.decoding == len(decoding)
        assert step.load.seen == sum(s.input_tokens + got[s] for s in decoding)
        assert step.load.decoding + step.load.prompt_tokens <= max(batcher.machine.batched_tokens, len(decoding))
        assert batcher.active <= batcher.slots
        if drop is not None and batcher.steps == drop[1] and drop[0] in sequences:
            batcher.drop(drop[0])
        finished = batcher.finish(step)
        for sequence in (*batcher.running, *finished):
            got[sequence] += 1
        ended += finished
    return got, ended


lengths = st.lists(st.tuples(st.integers(1, 300), st.integers(1, 40)), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(lengths, st.integers(1, 8), st.integers(8, 512))
def test_every_request_gets_its_tokens(asked, slots, budget):
    batcher = Batcher(replace(MACHINE, batched_tokens=budget), slots)
    sequences = [Sequence(*one) for one in asked]
    got, ended = run(batcher, sequences)
    assert got == {s: s.output_tokens for s in sequences}
    assert len(ended) == len(sequences)
    assert (batcher.active, batcher.cache_usage, batcher.plan()) == (0, 0.0, None)


@settings(max_examples=60, deadline=None)
@given(lengths, st.integers(0, 60), st.data())
def test_a_request_that_is_dropped_leaves_no_trace(asked, when, data):
    sequences = [Sequence(*one) for one in asked]
    gone = data.draw(st.sampled_from(sequences))
    batcher = Batcher(MACHINE, 4)
    got, ended = run(batcher, sequences, (gone, when))
    assert all(got[s] == s.output_tokens for s in sequences if s is not gone)
    assert got[gone] <= gone.output_tokens
    assert batcher.cache_usage == 0.0
    assert set(sequences) - set(ended) <= {gone}


def test_a_request_waits_for_room_and_one_that_never_fits_is_refused():
    batcher = Batcher(replace(MACHINE, kv_tokens=100), 8)
    first, second = Sequence(60, 10), Sequence(60, 10)
    assert not batcher.add(Sequence(95, 6))
    assert batcher.add(first)
    assert batcher.add(second)
    batcher.plan()
    assert (batcher.active, len(batcher.waiting)) == (1, 1)
    assert batcher.cache_usage == pytest.approx(0.65)


def test_long_prompts_are_worked_on_in_parts_beside_those_that_run():
    batcher = Batcher(replace(MACHINE, batched_tokens=100), 8)
    batcher.add(Sequence(50, 20))
    step = batcher.plan()
    assert (step.load.prompt_tokens, step.load.prompt_seen, step.load.logits) == (50, 50 * 51 // 2, 1)
    batcher.finish(step)
    batcher.add(Sequence(150, 1))
    parts = []
    for _ in range(2):
        step = batcher.plan()
        parts.append((step.load.decoding, step.load.prompt_tokens, step.load.prompt_seen))
        batcher.finish(step)
    assert parts == [(1, 99, 99 * 100 // 2), (1, 51, 99 * 51 + 51 * 52 // 2)]
