"""Tokens are counted from what the engine says, never from chunks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.agents.client.events import BrokenStream, StreamReader


def event(text="x", usage=None, timings=None, finish=None):
    body = {"choices": [{"text": text, "index": 0, "finish_reason": finish}]}
    if usage is not None:
        body["usage"] = {"prompt_tokens": 5, "completion_tokens": usage, "total_tokens": 5 + usage}
    if timings is not None:
        body["timings"] = {"predicted_n": timings, "prompt_n": 5}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def final(tokens, cached=None):
    usage = {"prompt_tokens": 5, "completion_tokens": tokens}
    if cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    return b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\n\ndata: [DONE]\n\n"


def test_continuous_usage_gives_several_tokens_per_chunk():
    reader = StreamReader()
    counts = [reader.feed(event(usage=n)) for n in (1, 4, 4, 6)]
    reader.feed(final(6, cached=3))
    assert counts == [1, 3, 0, 2]
    assert (reader.completion_tokens, reader.untimed_tokens, reader.cached_tokens) == (6, 0, 3)
    assert reader.finished


def test_llama_cpp_timings_count_tokens_without_text():
    reader = StreamReader()
    assert [reader.feed(event(timings=n)) for n in (1, 3)] == [1, 2]
    assert reader.feed(event(text="", timings=4, usage=4, finish="length")) == 1
    assert (reader.untimed_tokens, reader.finish_reason) == (0, "length")


def test_chunks_without_counts_stay_untimed():
    reader = StreamReader()
    assert [reader.feed(event()) for _ in range(4)] == [0, 0, 0, 0]
    assert reader.feed(final(9)) == 0
    assert reader.untimed_tokens == 9


@given(cuts=st.lists(st.integers(0, 2000), max_size=30), counts=st.lists(st.integers(1, 5), min_size=1, max_size=20))
def test_where_reads_cut_the_stream_does_not_matter(cuts, counts):
    total, stream = 0, b""
    for count in counts:
        total += count
        stream += event(usage=total)
    stream += final(total)
    reader, at, timed = StreamReader(), 0, 0
    for cut in sorted(c for c in cuts if c < len(stream)):
        timed += reader.feed(stream[at:cut])
        at = cut
    timed += reader.feed(stream[at:])
    assert timed == total == reader.completion_tokens
    assert reader.finished


@pytest.mark.parametrize("garbage", [b"data: {not json\n", b"data: [1,2]\n", b'data: {"choices": 3}\n'])
def test_garbage_is_a_broken_stream(garbage):
    with pytest.raises(BrokenStream):
        StreamReader().feed(garbage)


def test_an_error_event_is_kept():
    for text in (b'data: {"error": {"message": "too long"}}\n', b'error: {"message": "too long"}\n'):
        reader = StreamReader()
        reader.feed(text)
        assert "too long" in reader.error


@given(st.binary(max_size=200))
def test_any_bytes_either_parse_or_break(data):
    reader = StreamReader()
    try:
        reader.feed(b"data: " + data + b"\n")
    except BrokenStream:
        return
    assert reader.seen >= 0
