"""Orders that may be given, and asked about, any number of times."""

import threading

import pytest

from joulemark.agents.operations import Operations
from joulemark.warehouse.errors import EngineError

SOON_S = 10


def over(operations, number, wait_s):
    """Wait for the end of an order as somebody who has given it, and no later one."""
    return operations.over({"a": number}, {"a": number - 1}, wait_s).get("a") == number


def test_an_order_that_is_given_twice_is_carried_out_once():
    done = []
    operations = Operations()
    for _ in range(3):
        operations.begin("a", 1, lambda: done.append(1) or "answer")
        assert over(operations, 1, SOON_S)
    assert [operations.answer("a", 1) for _ in range(2)] == ["answer", "answer"]
    assert done == [1]


def test_waiting_ends_when_the_time_is_up_or_the_order_is_over():
    go = threading.Event()
    operations = Operations()
    operations.begin("a", 1, go.wait)
    assert not over(operations, 1, 0)
    assert not over(operations, 2, 0), "it was not given yet"
    go.set()
    assert over(operations, 1, SOON_S)


def test_what_goes_wrong_is_the_answer():
    operations = Operations()

    def fails():
        raise EngineError("it died", "engine_died")

    operations.begin("a", 1, fails)
    assert over(operations, 1, SOON_S)
    with pytest.raises(EngineError, match="it died"):
        operations.answer("a", 1)


def test_a_message_that_was_late_is_no_order_any_more():
    done = []
    operations = Operations()
    operations.begin("a", 2, lambda: done.append(2))
    assert over(operations, 2, SOON_S)
    operations.begin("a", 1, lambda: done.append(1))
    assert not over(operations, 1, 0)
    assert done == [2]


def test_series_do_not_wait_for_each_other():
    go = threading.Event()
    operations = Operations()
    operations.begin("a", 1, go.wait)
    operations.begin("b", 1, lambda: "quick")
    assert operations.over({"a": 1, "b": 1}, {}, SOON_S) == {"b": 1}
    assert operations.answer("b", 1) == "quick"
    go.set()
    assert operations.over({"a": 1, "b": 1}, {"b": 1}, SOON_S) == {"a": 1, "b": 1}


def test_an_order_that_the_one_who_waits_does_not_know_of_ends_the_waiting():
    operations = Operations()
    asked = []
    waiting = threading.Thread(target=lambda: asked.append(operations.over({"a": 1}, {"a": 1}, 60)))
    operations.begin("a", 1, int)
    assert over(operations, 1, SOON_S)
    waiting.start()
    operations.begin("a", 2, threading.Event().wait)
    waiting.join(SOON_S)
    assert asked == [{}]
