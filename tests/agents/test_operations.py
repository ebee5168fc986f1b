"""Orders that may be given, and asked about, any number of times."""

import threading

import pytest

from joulemark.agents.operations import Operations
from joulemark.warehouse.errors import EngineError

SOON_S = 10


def test_an_order_that_is_given_twice_is_carried_out_once():
    done = []
    operations = Operations()
    for _ in range(3):
        operations.begin(1, lambda: done.append(1) or "answer")
        assert operations.over(1, SOON_S)
    assert [operations.answer(1) for _ in range(2)] == ["answer", "answer"]
    assert done == [1]


def test_waiting_ends_when_the_time_is_up_or_the_order_is_over():
    go = threading.Event()
    operations = Operations()
    operations.begin(1, go.wait)
    assert not operations.over(1, 0)
    assert not operations.over(2, 0), "it was not given yet"
    go.set()
    assert operations.over(1, SOON_S)


def test_what_goes_wrong_is_the_answer():
    operations = Operations()

    def fails():
        raise EngineError("it died", "engine_died")

    operations.begin(1, fails)
    assert operations.over(1, SOON_S)
    with pytest.raises(EngineError, match="it died"):
        operations.answer(1)


def test_a_message_that_was_late_is_no_order_any_more():
    done = []
    operations = Operations()
    operations.begin(2, lambda: done.append(2))
    assert operations.over(2, SOON_S)
    operations.begin(1, lambda: done.append(1))
    assert not operations.over(1, 0)
    assert done == [2]
