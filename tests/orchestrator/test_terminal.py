"""What is shown of a sweep: when it ends, and of many nodes how many do what."""

import re

from joulemark.orchestrator.progress import NodeLine, Snapshot
from joulemark.orchestrator.terminal import SHOWN, at, counts, node_texts


def snapshot(nodes=(), left_s=None):
    return Snapshot("s", "running", "h", 1, 0.0, 10, 2, 3, 0, 0, left_s, list(nodes))


def test_the_end_is_told_with_the_time_that_is_left():
    assert re.fullmatch(r"trial 6 of 10, about 60 s left, ends (at|on .* at) \d\d:\d\d", counts(snapshot(left_s=60)))
    assert counts(snapshot()) == "trial 6 of 10"


def test_another_day_is_named():
    assert re.fullmatch(r"on \w{3} \d\d \w{3} at \d\d:\d\d", at(3 * 86400))


def test_few_nodes_are_told_one_by_one():
    lines = [NodeLine(f"n{i}", "window, 3 s left", "t", 5.0, 7.0) for i in range(SHOWN)]
    assert node_texts(snapshot(lines)) == [f"n{i}: t: window, 3 s left; 5 tokens/s, 7.0 W" for i in range(SHOWN)]


def test_of_many_nodes_the_rest_is_counted():
    lines = [NodeLine(f"n{i:03d}", "window, 3 s left" if i % 2 else "idle") for i in range(SHOWN + 11)]
    told = node_texts(snapshot(lines))
    assert len(told) == SHOWN + 1
    assert told[-1] == "11 more: 6 idle, 5 window"
