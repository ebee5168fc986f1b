"""A short run of the fuzzer; the long one is ``python tests/fuzz/run.py``."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from mutate import mutated
from run import fuzz
from targets import TARGETS, Target

INPUTS = 3_000


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_parsers_return_or_raise_what_they_declare(target):
    assert fuzz(target, 0, INPUTS) == []


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
@settings(deadline=None, max_examples=150)
@given(data=st.one_of(st.binary(max_size=400), st.text(max_size=200).map(lambda t: t.encode(errors="surrogatepass"))))
def test_any_bytes_will_do(target, data):
    target.accepts(data)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.name)
def test_valid_texts_are_parsed_and_inputs_are_reproducible(target):
    for seed in target.seeds:
        assert target.accepts(seed)
    assert [mutated(target.seeds, n, "x") for n in range(50)] == [mutated(target.seeds, n, "x") for n in range(50)]


def test_an_undeclared_error_is_found():
    def careless(data: bytes) -> None:
        data.decode()

    assert fuzz(Target("careless", careless, (), (b"text",)), 0, 200)
