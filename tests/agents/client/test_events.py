"""Tokens are counted from what the engine says, never from chunks."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.agents.client.events import StreamReader
from joulemark.agents.client.sse import EVENT_BYTES_AT_MOST, BrokenStream, EventSplitter


def event(text="x", usage=None, timings=None, finish=None, end="\n\n"):
    body = {"choices": [{"text": text, "index": 0, "finish_reason": finish}]}
    if usage is not None:
        body["usage"] = {"prompt_tokens": 5, "completion_tokens": usage, "total_tokens": 5 + usage}
    if timings is not None:
        body["timings"] = {"predicted_n": timings, "prompt_n": 5}
    return f"data: {json.dumps(body, ensure_ascii=False)}{end}".encode()


def final(tokens, cached=None, details=None, end="\n\n", **more):
    usage = {"prompt_tokens": 5, "completion_tokens": tokens, **more}
    if cached is not None:
        usage["prompt_tokens_details"] = {"cached_tokens": cached}
    if details is not None:
        usage["completion_tokens_details"] = details
    return f"data: {json.dumps({'choices': [], 'usage': usage})}{end}data: [DONE]{end}".encode()


def read(*parts):
    reader = StreamReader()
    return reader, [reader.feed(part) for part in parts]


def test_continuous_usage_gives_several_tokens_per_chunk():
    reader, counts = read(*(event(usage=n) for n in (1, 4, 4, 6)), final(6, cached=3))
    assert counts == [1, 3, 0, 2, 0]
    assert (reader.completion_tokens, reader.untimed_tokens, reader.cached_tokens) == (6, 0, 3)
    assert reader.finished
    assert reader.went_back is None


def test_several_events_in_one_read():
    reader, counts = read(event(usage=2) + event(usage=3), event(usage=5) + final(5))
    assert counts == [3, 2]
    assert reader.finished


def test_llama_cpp_timings_count_tokens_without_text():
    reader, counts = read(event(timings=1), event(timings=3), event(text="", timings=4, usage=4, finish="length"))
    assert counts == [1, 2, 1]
    assert (reader.untimed_tokens, reader.finish_reason) == (0, "length")


def test_what_llama_cpp_says_of_its_cache_and_drafts():
    timings = {"predicted_n": 7, "cache_n": 31, "draft_n": 9, "draft_n_accepted": 4}
    reader, _ = read(b"data: " + json.dumps({"choices": [{}], "timings": timings}).encode() + b"\n\n")
    assert (reader.cached_tokens, reader.accepted_draft_tokens, reader.seen) == (31, 4, 7)


def test_chunks_without_counts_stay_untimed():
    reader, counts = read(*[event()] * 4, final(9))
    assert counts == [0] * 5
    assert reader.untimed_tokens == 9


def test_a_later_count_times_what_came_before():
    reader, counts = read(event(), event(usage=3), final(4))
    assert counts == [0, 3, 0]
    assert reader.untimed_tokens == 1


@pytest.mark.parametrize(
    ("usage", "reasoning", "accepted"),
    [
        ({"details": {"reasoning_tokens": 3, "accepted_prediction_tokens": 2}}, 3, 2),
        ({"reasoning_tokens": 5}, 5, None),
        ({"details": {"audio_tokens": 0}}, None, None),
        ({}, None, None),
    ],
)
def test_reasoning_and_accepted_drafts_where_they_are_told(usage, reasoning, accepted):
    reader, _ = read(event(usage=6), final(6, **usage))
    assert (reader.reasoning_tokens, reader.accepted_draft_tokens) == (reasoning, accepted)


@pytest.mark.parametrize(
    ("events", "words"),
    [
        ((event(usage=3), event(usage=2), event(usage=4), final(4)), "from 3 to 2"),
        ((event(usage=4), final(3)), "from 4 to 3"),
        ((event(timings=4), event(timings=2)), "from 4 to 2"),
    ],
)
def test_a_count_that_goes_back_is_said(events, words):
    reader, counts = read(*events)
    assert words in reader.went_back
    assert min(counts) >= 0


@pytest.mark.parametrize("name", ["completion_tokens", "prompt_tokens"], ids=["of the answer", "of the prompt"])
@pytest.mark.parametrize("count", [-1, 1 << 31, 1.5, "many"])
def test_a_count_that_is_none_is_a_broken_stream(name, count):
    text = b"data: " + json.dumps({"choices": [{}], "usage": {name: count}}).encode() + b"\n\n"
    with pytest.raises(BrokenStream):
        StreamReader().feed(text)


def test_events_after_the_end_do_not_count():
    reader, counts = read(event(usage=1), final(1), event(usage=9))
    assert counts == [1, 0, 0]
    assert reader.completion_tokens == 1


streams = st.tuples(
    st.lists(
        st.tuples(st.integers(1, 5), st.sampled_from(["x", "é", "日本", "\\u00e9\\n", '"', "🙂"])),
        min_size=1,
        max_size=20,
    ),
    st.sampled_from(["\n\n", "\r\n\r\n", "\r\r", "\n\r\n"]),
    st.sampled_from(["", ": ping\n\n", "event: x\n", "id: 3\nretry: 5\n", "\n\n", ":\r\n"]),
)


@given(cuts=st.lists(st.integers(0, 4000), max_size=30), made=streams)
def test_where_reads_cut_the_stream_does_not_matter(cuts, made):
    counts, end, between = made
    total, stream = 0, b"\xef\xbb\xbf"
    for count, text in counts:
        total += count
        stream += between.encode() + event(text=text, usage=total, end=end)
    stream += final(total, end=end)
    reader, at, timed = StreamReader(), 0, 0
    for cut in sorted(c for c in cuts if c < len(stream)):
        timed += reader.feed(stream[at:cut])
        at = cut
    timed += reader.feed(stream[at:]) + reader.feed(b"\n\n")
    assert timed == total == reader.completion_tokens == reader.seen
    assert reader.finished
    assert reader.error is None


def test_data_of_several_lines_is_one_event():
    text = b'data: {"choices": [{"text": "x"}],\ndata: "usage": {"completion_tokens": 2}}\n\n'
    assert read(text)[1] == [2]
    assert EventSplitter().feed(b"data: a\ndata:b\ndata\n\n:c\n\nevent: e\r\ndata:  d\r\n\r\n") == [
        (b"", b"a\nb\n"),
        (b"e", b" d"),
    ]


def test_the_last_event_may_lack_its_blank_line():
    reader, _ = read(event(usage=1), b"data: [DONE]\n")
    assert not reader.finished
    reader.feed(b"\n\n")
    assert reader.finished


@pytest.mark.parametrize(
    "garbage", [b"data: {not json\n\n", b"data: [1,2]\n\n", b'data: {"choices": 3}\n\n', b"data: {}}\n\n"]
)
def test_garbage_is_a_broken_stream(garbage):
    with pytest.raises(BrokenStream):
        StreamReader().feed(garbage)


def test_an_event_without_end_is_a_broken_stream():
    reader = StreamReader()
    reader.feed(b"x" * EVENT_BYTES_AT_MOST)
    with pytest.raises(BrokenStream, match="bytes"):
        reader.feed(b"x")


@pytest.mark.parametrize(
    "text",
    [
        b'data: {"error": {"message": "too long"}}\n\n',
        b'data: {"error": "too long"}\n\n',
        b'error: {"message": "too long"}\n\n',
        b'data: {"object": "error", "message": "too long", "code": 400}\n\n',
        b"event: error\ndata: too long\n\n",
    ],
)
def test_an_error_event_is_kept(text):
    reader, _ = read(text)
    assert "too long" in reader.error


@given(st.binary(max_size=200))
def test_any_bytes_either_parse_or_break(data):
    reader = StreamReader()
    try:
        reader.feed(b"data: " + data + b"\n\n")
        reader.feed(b"\n\n")
    except BrokenStream:
        return
    assert reader.seen >= 0


@given(
    st.lists(st.sampled_from([b"data: {}", b"\n", b"\r", b"\r\n", b": c", b"data", b"event: e", b"x"]), max_size=12),
    st.data(),
)
def test_the_splitter_does_not_care_where_it_is_cut(parts, data):
    stream = b"".join(parts)
    at = data.draw(st.integers(0, len(stream)))
    whole, cut = EventSplitter(), EventSplitter()
    assert whole.feed(stream + b"\n\n") == cut.feed(stream[:at]) + cut.feed(stream[at:] + b"\n\n")
