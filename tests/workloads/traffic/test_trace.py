"""Traces: times and lengths exactly as recorded, clipping, speed, and the stretch with the load asked for."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import io
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.sweep.presets import PRESETS
from joulemark.workloads.traffic.make import make_traffic
from joulemark.workloads.traffic.tables import Tables, digest_of, read_table
from joulemark.workloads.traffic.trace import published_columns, read_trace, stretch_of_load
from joulemark.workloads.workload import Arrivals, Length, Trace, Workload

ROOT = Path(__file__).parents[3]
REFERENCE = Path(os.environ.get("JOULEMARK_REFERENCE", ROOT.parent / "shared" / "reference"))
AZURE = REFERENCE / "azure-llm-2023" / "AzureLLMInferenceTrace_conv.csv.gz"
ROWS = [(0.0, 100, 10), (0.5, 200, 20), (2.25, 300, 30), (7.0, 400, 40)]


def replayed(data: bytes, most=(10_000, 10_000), **fields):
    name = digest_of(data)
    asked = Trace(
        name, *(fields.pop("columns", None) or published_columns(read_table(data).column_names)[:3]), **fields
    )
    lengths = [Length("trace", 1, m) for m in most]
    workload = Workload(lengths[0], lengths[1], None, Arrivals("trace", trace=asked))
    return make_traffic(workload, prompt_seed=1, vocab_size=50, tables=Tables({name: data}))


def as_csv(rows, header="time_s,input_tokens,output_tokens") -> bytes:
    return (header + "\n" + "".join(f"{t},{a},{b}\n" for t, a, b in rows)).encode()


def as_parquet(rows) -> bytes:
    buffer = io.BytesIO()
    start = dt.datetime(2024, 5, 10, tzinfo=dt.UTC)
    table = pa.table(
        {
            "TIMESTAMP": pa.array([start + dt.timedelta(seconds=t) for t, _, _ in rows], pa.timestamp("us", "UTC")),
            "ContextTokens": [a for _, a, _ in rows],
            "GeneratedTokens": [b for _, _, b in rows],
        }
    )
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def as_json_lines(rows) -> bytes:
    line = '{{"timestamp": {}, "input_length": {}, "output_length": {}, "hash_ids": [1, 2]}}\n'
    return "".join(line.format(round(t * 1000), a, b) for t, a, b in rows).encode()


HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"
FORMATS = {
    "csv": (as_csv(ROWS), "s"),
    "csv.gz": (gzip.compress(as_csv(ROWS)), "s"),
    "parquet": (as_parquet(ROWS), "s"),
    "jsonl": (as_json_lines(ROWS), "ms"),
    "azure": (as_csv([(f"2023-11-16 18:15:{46 + t:010.7f}", a, b) for t, a, b in ROWS], HEADER), "s"),
    "azure-2024": (as_csv([(f"2024-05-10 00:00:{t:09.6f}+00:00", a, b) for t, a, b in ROWS], HEADER), "s"),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_replay(name):
    data, unit = FORMATS[name]
    columns = None if data[:2] != b"\x1f\x8b" else ("time_s", "input_tokens", "output_tokens")
    found = replayed(data, unit=unit, columns=columns)
    assert list(found.due_s()) == [0.0, 0.5, 2.25, 7.0]
    assert [(r.input_tokens, r.output_tokens) for r in map(found.request, range(4))] == [r[1:] for r in ROWS]
    assert (found.open_loop, found.steady, found.duration_s) == (True, False, 7.0)


def test_speed_clipping_and_a_part():
    found = replayed(as_csv(ROWS), most=(250, 15), speed=2.0, begin_s=0.25, end_s=3.0)
    assert list(found.due_s()) == [0.0, 0.875]
    assert [(r.input_tokens, r.output_tokens) for r in map(found.request, range(2))] == [(200, 15), (250, 15)]
    assert found.duration_s == 2.75


def test_rows_out_of_order_are_put_in_order_with_their_lengths():
    found = replayed(as_csv(ROWS[::-1]))
    assert list(found.due_s()) == [0.0, 0.5, 2.25, 7.0]
    assert found.request(0).input_tokens == 100


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (as_csv([("x", 1, 1)]), "holds no times"),
        (as_csv([(0.0, "x", 1)]), "holds no numbers"),
        (as_csv([(0.0, -4, 1)]), "holds a number that is no length"),
        (as_csv([(0.0, "", 1), (1.0, 3, 1)]), "lacks a value in 1 rows"),
        (as_csv([]), "no rows|holds no"),
        (b"\x00\x01", "not a table|none of its columns"),
        (as_csv(ROWS, "when,input_tokens,output_tokens"), "none of its columns .when, input_tokens, output_tokens."),
    ],
)
def test_what_is_no_trace_is_said(data, says):
    with pytest.raises(BadInput, match=says):
        replayed(data)


def test_a_missing_column_names_the_nearest():
    with pytest.raises(BadInput, match="no column 'input_token': did you mean input_tokens"):
        replayed(as_csv(ROWS), columns=("time_s", "input_token", "output_tokens"))


def windows(rows, tokens, window_s, warmup_s, step_s):
    """Loads of windows on a grid: what the exact answer is held against."""
    times, last = rows.time_ns / 1e9, rows.time_ns[-1] / 1e9
    begins = np.arange(warmup_s, last - window_s, step_s)
    total = np.concatenate(([0], np.cumsum(tokens)))
    loads = total[np.searchsorted(times, begins + window_s)] - total[np.searchsorted(times, begins)]
    return loads / window_s


def test_percentiles_of_a_trace_that_can_be_counted_by_hand():
    # One request a second, of one token in the first minute, two in the second, ...: loads rise with the minute.
    name = digest_of(data := as_csv([(float(s), 1 + s // 60, 0) for s in range(601)]))
    rows = read_trace(Tables({name: data}), Trace(name, "time_s", "input_tokens", "output_tokens"))
    for percentile, low, high in ((0, 0, 60), (50, 240, 330), (90, 480, 540), (100, 539, 590)):
        begin_s, end_s = stretch_of_load(rows, rows.input, percentile, 0.0, 10.0, 1.0)
        assert end_s - begin_s == pytest.approx(10)
        assert low <= begin_s <= high


def test_too_short_a_trace_is_said():
    name = digest_of(data := as_csv(ROWS))
    rows = read_trace(Tables({name: data}), Trace(name, "time_s", "input_tokens", "output_tokens"))
    assert stretch_of_load(rows, rows.input, 50, 3.0, 4.0, 1.0) == (0.0, 7.0)
    with pytest.raises(BadInput, match=r"lasts 3.5 s at speed 2, less than warm-up and window together \(7 s\)"):
        stretch_of_load(rows, rows.input, 50, 3.0, 4.0, 2.0)


azure = pytest.mark.skipif(not AZURE.is_file(), reason=f"no trace at {AZURE}: set JOULEMARK_REFERENCE")


@azure
def test_the_azure_trace_is_replayed_exactly():
    lines = list(csv.reader(io.StringIO(gzip.decompress(AZURE.read_bytes()).decode(), newline="")))
    assert lines[0] == ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]

    def ns(text: str) -> int:
        whole, _, fraction = text.partition(".")
        seconds = dt.datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=dt.UTC).timestamp()
        return int(seconds) * 10**9 + int(fraction.ljust(9, "0"))

    first = ns(lines[1][0])
    found = replayed(AZURE.read_bytes(), most=(100_000, 100_000), columns=tuple(lines[0]))
    assert list(found.due_s()) == [(ns(line[0]) - first) / 1e9 for line in lines[1:]]
    pairs = [found.source.lengths.of(n) for n in range(len(lines) - 1)]
    assert pairs == [(int(a), int(b)) for _, a, b in lines[1:]]
    assert len(pairs) == 19_366


@azure
@pytest.mark.parametrize("percentile", [10, 50, 90, 99])
@pytest.mark.parametrize("speed", [1.0, 4.0])
def test_a_percentile_of_the_azure_trace_is_that_of_all_its_windows(percentile, speed):
    data = AZURE.read_bytes()
    name = digest_of(data)
    rows = read_trace(Tables({name: data}), Trace(name, "TIMESTAMP", "ContextTokens", "GeneratedTokens"))
    tokens = rows.input + rows.output
    begin_s, end_s = stretch_of_load(rows, tokens, percentile, 30.0, 120.0, speed)
    assert end_s - begin_s == pytest.approx(150)
    times = rows.time_ns / 1e9 / speed
    load = tokens[(times >= begin_s + 30) & (times < end_s)].sum() / 120 * (1 / speed)
    all_loads = windows(rows, tokens, 120.0 * speed, 30.0 * speed, 0.05)
    share = (all_loads <= load * (1 + 1e-9)).mean() * 100
    assert share == pytest.approx(percentile, abs=0.1)


@azure
def test_the_preset_from_the_azure_trace_has_its_median_and_p90():
    data = AZURE.read_bytes()
    name = digest_of(data)
    rows = read_trace(Tables({name: data}), Trace(name, "TIMESTAMP", "ContextTokens", "GeneratedTokens"))
    for key, column in (("input_tokens", rows.input), ("output_tokens", rows.output)):
        length = PRESETS["azure-chat"].fields[key]
        assert np.quantile(column, (0.5, 0.9)) == pytest.approx((length.median, length.p90), abs=0.5)
