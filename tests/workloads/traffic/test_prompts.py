"""Prompts are the same everywhere, never the same twice, and streams start one after another."""

from __future__ import annotations

import pytest

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.traffic import prompt_ids, stagger_offsets


def test_a_prompt_is_the_same_on_every_machine():
    assert prompt_ids(7, 11, 0, 6, 2048) == prompt_ids(7, 11, 0, 6, 2048)
    assert prompt_ids(7, 11, 0, 6, 2048) == GOLDEN


def test_every_request_seed_and_trial_has_its_own_prompt():
    prompts = {tuple(prompt_ids(w, t, r, 96, 2048)) for w in range(3) for t in range(3) for r in range(200)}
    assert len(prompts) == 3 * 3 * 200


def test_prompts_share_no_prefix_that_a_cache_block_could_hold():
    blocks = {tuple(prompt_ids(1, 1, r, 96, 2048)[:16]) for r in range(2000)}
    assert len(blocks) == 2000


def test_ids_cover_the_vocabulary_without_special_tokens():
    ids = {i for r in range(200) for i in prompt_ids(0, 0, r, 100, 50)}
    assert ids == set(range(3, 50))


def test_length_is_exact_and_seeds_may_be_negative_or_huge():
    assert len(prompt_ids(-1, 2**70, 3, 1000, 2048)) == 1000
    assert prompt_ids(1, 1, 1, 0, 2048) == []


def test_a_vocabulary_without_ordinary_tokens_is_refused():
    with pytest.raises(BadInput, match="3 tokens"):
        prompt_ids(0, 0, 0, 4, 3)


def test_streams_start_evenly_inside_the_spread():
    assert stagger_offsets(4, 2.0) == [0.0, 0.5, 1.0, 1.5]
    assert stagger_offsets(1, 5.0) == [0.0]


GOLDEN = [372, 644, 39, 327, 105, 1615]
