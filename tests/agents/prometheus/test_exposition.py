"""The text format: what exporters write is read exactly, and nothing that anybody writes does harm."""

import math
import re
import string
import time

import pytest
from exporter import reference
from hypothesis import given
from hypothesis import strategies as st

from joulemark.agents.prometheus import Sample, samples, samples_of, summed


@pytest.mark.parametrize(
    ("line", "sample"),
    [
        ("a 1", Sample("a", {}, 1.0)),
        ("a{} 1.5e3", Sample("a", {}, 1500.0)),
        ('a:b_c{d="e"} -2', Sample("a:b_c", {"d": "e"}, -2.0)),
        ('  a\t{ d = "e" , }\t 4 ', Sample("a", {"d": "e"}, 4.0)),
        (r'a{d="q\"b\\n\nx",e="{},="} 1', Sample("a", {"d": 'q"b\\n\nx', "e": "{},="}, 1.0)),
        ('a{d="# no comment"} 1', Sample("a", {"d": "# no comment"}, 1.0)),
        ("a 1 1700000000123", Sample("a", {}, 1.0, 1700000000.123)),
        ("a 1 1700000000.5", Sample("a", {}, 1.0, 1700000000.5)),
        ('a{d="e"} 7 # {trace_id="x y"} 0.5 1700000000.1', Sample("a", {"d": "e"}, 7.0)),
        ('a_total 7 1700000000 # {t="x"} 1', Sample("a_total", {}, 7.0, 1700000000.0)),
        ("a +Inf", Sample("a", {}, math.inf)),
        ("a -Inf", Sample("a", {}, -math.inf)),
        ('{"name with.dots",d="e"} 3', Sample("name with.dots", {"d": "e"}, 3.0)),
        ('a{"label.dots"="e"} 3\r', Sample("a", {"label.dots": "e"}, 3.0)),
        ('a{d="v\u2028w\x85"} 3', Sample("a", {"d": "v\u2028w\x85"}, 3.0)),
    ],
)
def test_samples_are_read_as_they_are_written(line, sample):
    assert samples(line) == [sample]
    assert samples(f"# TYPE a gauge\n{line}\n# EOF\n".encode()) == [sample]


def test_not_a_number_is_one():
    assert math.isnan(samples("a NaN")[0].value)


@pytest.mark.parametrize(
    "line", ["", "#", "# HELP a 1", "a", "a b", 'a{b="c" 1', "a 1_0", "a 0x10", "{} 1", "1 2", "a 1 2 3", '{"a": 1}']
)
def test_what_is_no_sample_is_passed_over(line):
    assert samples(f"b 1\n{line}\nc 2") == [Sample("b", {}, 1.0), Sample("c", {}, 2.0)]


names = st.from_regex(r"[A-Za-z_:][A-Za-z0-9_:]{0,9}", fullmatch=True)
label_sets = st.dictionaries(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True), st.text(max_size=8), max_size=3
)
stamps = st.none() | st.integers(10**12, 4 * 10**12)
written = st.builds(
    Sample, names, label_sets, st.floats(allow_nan=False), stamps.map(lambda ms: None if ms is None else ms / 1e3)
)


def escaped(text):
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def line_of(sample):
    labels = ",".join(f'{k}="{escaped(v)}"' for k, v in sample.labels.items())
    stamp = "" if sample.timestamp_s is None else f" {round(sample.timestamp_s * 1e3)}"
    return f"{sample.name}{{{labels}}} {sample.value!r}{stamp}"


@given(st.lists(written, max_size=6))
def test_what_is_written_by_the_rules_comes_back(several):
    encodable = [s for s in several if "\\ud" not in ascii(s)]
    page = "\n".join(["# HELP x y", *map(line_of, encodable), ""])
    assert samples(page) == encodable
    assert samples(page.encode()) == encodable


@given(st.binary(max_size=300) | st.text(alphabet='a1 {}"\\=,#\n\t.+-eE_:\r', max_size=60))
def test_no_input_raises_and_all_ways_agree(page):
    found = samples(page)
    assert all(isinstance(s.value, float) and s.name for s in found)
    assert set(summed(page)) == {s.name for s in found}


@given(st.lists(written, max_size=8), st.sets(names, max_size=3), st.data())
def test_reading_some_metrics_finds_what_reading_all_finds(several, others, data):
    encodable = [s for s in several if "\\ud" not in ascii(s)]
    wanted = others | set(data.draw(st.lists(st.sampled_from([s.name for s in encodable] or ["x"]), max_size=3)))
    page = "\n".join([f"# TYPE {s.name} gauge\n{line_of(s)}" for s in encodable]).encode()
    assert samples_of(page, wanted) == [s for s in encodable if s.name in wanted]


@pytest.mark.parametrize(
    "line",
    [
        "a{" + '"' * 200_001,
        'a{b="' * 100_000,
        "a{" + 'b="c",' * 100_000,
        " " * 400_000,
        "{" * 400_000,
        "a 1" + " " * 400_000 + "x",
        "a 1 " + "1" * 400_000,
        'a{b="' + "\\" * 400_001,
    ],
)
def test_no_line_takes_more_than_its_length(line):
    started = time.process_time()
    samples(line)
    # A quadratic pattern would need hours.
    assert time.process_time() - started < 20


def test_sums_are_over_label_sets():
    page = 'a{x="1"} 1\na{x="2"} 2.5\nb 4 1700000000000\nnonsense\n'
    assert summed(page) == {"a": 3.5, "b": 4.0}


def test_a_real_page():
    page = reference("node-exporter-gb200.txt")
    lines = [line for line in page.decode().split("\n") if re.match(r"[a-z]", line)]
    found = samples(page)
    assert len(found) == len(lines) > 1700
    for line, sample in zip(lines, found, strict=True):
        assert line.startswith(sample.name)
        assert line.endswith(tuple(string.digits))
        assert sample.value == float(line.rsplit(" ", 1)[1])
        assert line.count('="') == len(sample.labels)
