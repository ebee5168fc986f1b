"""Workloads in sweep files: what each way of writing comes to, and the line for what contradicts itself."""

from __future__ import annotations

import json

import pytest

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Arrivals, Conversation, Length, Load, Prefix, Stretch, Workload
from joulemark.workloads.engines.catalogue import slots_of
from joulemark.workloads.matrix import describe, expand
from joulemark.workloads.sweep import load_sweep, parse_sweep
from joulemark.workloads.sweep.presets import PRESETS
from joulemark.workloads.traffic import make_traffic
from joulemark.workloads.traffic.make import files_of
from joulemark.workloads.traffic.tables import digest_of

LENGTHS = "input_tokens: 96, output_tokens: 48"


def expansion(workload: str, matrix: str = "model: tiny-dense", more: str = "", folder=None):
    text = f"schema: 1\nname: s\nmatrix: {{{matrix}}}\nworkload: {{{workload}}}\n{more}\n"
    if "measure" not in more:
        text += "measure: {warmup: 1s, window: 4s}\n"
    return expand(parse_sweep(text, "s.yaml", folder))


def only(workload: str, *args, **more) -> Workload:
    (cell,) = expansion(workload, *args, **more).cells
    return cell.workload


@pytest.mark.parametrize(
    ("text", "arrivals", "load"),
    [
        ("", "closed", None),
        ("rate: 4", Arrivals("poisson", 4.0), None),
        ("arrivals: constant, rate: 0.5", Arrivals("constant", 0.5), None),
        ("rate: 4, burstiness: 0.5", Arrivals("gamma", 4.0, 0.5), None),
        ("load: {fraction: 0.9}", Arrivals("poisson"), Load(fraction=0.9)),
        ("load: {fraction: 0.9}, arrivals: constant", Arrivals("constant"), Load(fraction=0.9)),
        ("ramp: {from: 1, to: 20, over: 5m}", Arrivals("poisson", stretches=(Stretch(1.0, 20.0, 300.0),)), None),
        (
            "arrivals: constant, steps: [{rate: 2, for: 60s}, {rate: 8, for: 30s}]",
            Arrivals("constant", stretches=(Stretch(2.0, 2.0, 60.0), Stretch(8.0, 8.0, 30.0))),
            None,
        ),
    ],
)
def test_arrivals(text, arrivals, load):
    found = only(f"{LENGTHS}, {text}" if text else LENGTHS)
    assert (found.arrivals, found.load) == (arrivals, load)
    assert found.concurrency == (1 if arrivals == "closed" else None)


def test_the_axes_rate_burstiness_and_load():
    cells = expansion(LENGTHS, "model: tiny-dense, rate: {from: 1, to: 4, times: 2}, burstiness: [1, 0.25]").cells
    arrivals = [c.workload.arrivals for c in cells]
    assert arrivals == [Arrivals("gamma", r, b) for r in (1.0, 2.0, 4.0) for b in (1.0, 0.25)]
    cells = expansion(LENGTHS, "model: tiny-dense, load: [{fraction: 0.5}, {fraction: 0.9}]").cells
    assert [c.workload.load for c in cells] == [Load(fraction=0.5), Load(fraction=0.9)]
    cells = expansion(LENGTHS, "model: tiny-dense, link: [{concurrency: 8}, {rate: 4}]").cells
    assert [(c.workload.arrivals, c.workload.concurrency) for c in cells] == [
        ("closed", 8),
        (Arrivals("poisson", 4.0), None),
    ]


def test_null_takes_a_field_away():
    text = f"{LENGTHS}, rate: 4"
    cells = expansion(text, "model: tiny-dense, workload: [{seed: 1}, {rate: null}]").cells
    assert [c.workload.arrivals for c in cells] == [Arrivals("poisson", 4.0), "closed"]


def test_exclude_looks_at_axes_and_fields():
    matrix = "model: tiny-dense, rate: [1, 2, 4], workload: [{stop: natural}, {}]"
    found = expansion(LENGTHS, matrix, "exclude: [{rate: 2}, {rate: 4, workload: {stop: natural}}]")
    assert [(c.workload.arrivals.rate_per_s, c.workload.stop) for c in found.cells] == [
        (1.0, "natural"),
        (1.0, "fixed"),
        (4.0, "fixed"),
    ]
    assert found.warnings == ()
    assert len(expansion(LENGTHS, matrix, "exclude: [{workload: {arrivals: poisson, seed: 1}}]").cells) == 6


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("{distribution: uniform, min: 10, max: 20}", Length("uniform", 10, 20)),
        (
            "{distribution: normal, mean: 100, stdev: 20, max: 200}",
            Length("normal", 1, 200, mean=100.0, stdev=20.0),
        ),
        (
            "{distribution: lognormal, median: 100, p90: 300, min: 8, max: 900}",
            Length("lognormal", 8, 900, median=100.0, p90=300.0),
        ),
        (
            "{distribution: lognormal, mean: 100, stdev: 300, max: 900}",
            Length("lognormal", 1, 900, mean=100.0, stdev=300.0),
        ),
    ],
)
def test_lengths(text, length):
    found = only(f"input_tokens: {text}, output_tokens: 5")
    assert (found.input_tokens, found.output_tokens) == (length, 5)
    assert found.context_tokens == length.most + 5


def test_prefixes_conversations_and_the_rest():
    found = only(
        f"{LENGTHS}, prefix: {{tokens: 32, groups: 8}}, conversation: {{turns: 3, pause: 500ms}}, stop: natural, "
        "rate: 2, max_in_flight: 77"
    )
    assert found.prefix == Prefix(32, 8)
    assert found.conversation == Conversation(3, 0.5)
    assert (found.stop, found.max_in_flight) == ("natural", 77)
    assert found.context_tokens == 3 * (96 + 48)


def test_the_engine_is_made_ready_for_what_comes():
    def slots(workload: str, matrix: str = "model: tiny-dense") -> int:
        return slots_of(expansion(workload, matrix).cells[0])

    assert slots(LENGTHS, "model: tiny-dense, concurrency: 9") == 9
    assert slots(f"{LENGTHS}, rate: 3") == 32
    assert slots(f"{LENGTHS}, rate: 3", "model: tiny-dense, engine: vllm, accelerator: cpu") == 256
    assert slots(f"{LENGTHS}, rate: 3, max_in_flight: 5") == 5


def test_files_start_at_the_sweep_and_count_by_content(tmp_path):
    (tmp_path / "data").mkdir()
    lengths, prompts = b"n_in,n_out\n5,50\n7,70\n", b'{"prompt": "Hi", "max_tokens": 4}\n{"prompt": "Ho"}\n'
    (tmp_path / "data/l.csv").write_bytes(lengths)
    (tmp_path / "data/p.jsonl").write_bytes(prompts)
    text = (
        "schema: 1\nname: s\nmatrix:\n  model: tiny-dense\n  workload:\n"
        "    - input_tokens: {file: data/l.csv, column: n_in}\n"
        "      output_tokens: {file: data/l.csv, column: n_out, max: 60}\n"
        "    - {prompts: data/p.jsonl, output_tokens: 9, stop: natural}\n"
        "    - {prompts: {file: data/p.jsonl, max_input_tokens: 12}, output_tokens: 9}\n"
    )
    (tmp_path / "s.yaml").write_text(text)
    found = expand(load_sweep(tmp_path / "s.yaml"))
    table, own, limited = [c.workload for c in found.cells]
    name = digest_of(lengths)
    assert table.input_tokens == Length("table", 1, 7, table=name, column="n_in")
    assert table.output_tokens == Length("table", 1, 60, table=name, column="n_out")
    assert own.prompts == digest_of(prompts)
    assert own.output_tokens == Length("prompts", 4, 9, otherwise=9)
    assert limited.context_tokens == 12 + 9
    assert found.tables.files == {name: lengths, digest_of(prompts): prompts}
    assert files_of(table) == {name}
    assert files_of(own) == {digest_of(prompts)}
    for cell in found.cells:
        asked = make_traffic(cell.workload, prompt_seed=1, vocab_size=99, tables=found.tables)
        assert all(asked.request(n).output_tokens in (4, 9, 50, 60) for n in range(20))
    (tmp_path / "data/l.csv").rename(tmp_path / "other.csv")
    (tmp_path / "s.yaml").write_text(text.replace("data/l.csv", "other.csv"))
    assert [c.cell_id for c in expand(load_sweep(tmp_path / "s.yaml")).cells] == [c.cell_id for c in found.cells]


def trace(tmp_path, name="t.csv") -> str:
    rows = "".join(f"{n / 10},{100 + n % 7},{10 + n % 3}\n" for n in range(1001))
    (tmp_path / name).write_text(f"time_s,input_tokens,output_tokens\n{rows}")
    return name


def test_a_trace_brings_its_lengths(tmp_path):
    found = only(f"trace: {trace(tmp_path)}", folder=tmp_path)
    assert found.arrivals.process == "trace"
    assert (found.arrivals.trace.begin_s, found.arrivals.trace.end_s) == (0.0, 5.0)
    assert found.input_tokens == Length("trace", 1, 106)
    assert found.output_tokens == Length("trace", 1, 12)
    assert only("trace: {file: t.csv, max_input_tokens: 104}", folder=tmp_path).input_tokens == Length("trace", 1, 104)
    assert only("trace: t.csv, output_tokens: 7", folder=tmp_path).output_tokens == 7
    part = only("trace: {file: t.csv, speed: 2}, load: {percentile: 90}", folder=tmp_path)
    assert part.arrivals.trace.end_s - part.arrivals.trace.begin_s == pytest.approx(5.0)
    asked = make_traffic(part, prompt_seed=1, vocab_size=99, tables=expansion("trace: t.csv", folder=tmp_path).tables)
    assert asked.duration_s == pytest.approx(5.0)
    assert 95 <= len(list(asked.due_s())) <= 101


def test_columns_of_any_name(tmp_path):
    (tmp_path / "t.csv").write_text("when,p,a\n0,5,6\n9000,7,8\n")
    text = "trace: {file: t.csv, columns: {time: when, input: p, output: a}, unit: ms}"
    assert only(text, folder=tmp_path).context_tokens == 7 + 8


BAD = [
    ("rate: 4, concurrency", None, "unknown key 'concurrency' in workload"),
    ("arrivals: sometimes", None, "s.yaml:4:{col}: 'sometimes' is no kind of arrivals"),
    ("arrivals: poisson", None, "s.yaml:4:{key}: arrivals: poisson needs a rate: write rate: 4 (requests/s)"),
    ("arrivals: closed, rate: 4", None, "rate and a closed loop contradict each other"),
    ("max_in_flight: 4", None, "max_in_flight and a closed loop contradict each other: leave max_in_flight out"),
    ("rate: 4", "concurrency: 8", "s.yaml:3:29: concurrency and rate contradict each other"),
    ("load: {fraction: 0.9}", "concurrency: 8", "concurrency and load contradict each other"),
    ("rate: 4, ramp: {from: 1, to: 2, over: 60s}", None, "rate and ramp contradict each other: give one of them"),
    ("load: {fraction: 0.9}, rate: 4", None, "rate and load: {fraction: ...} contradict each other"),
    ("load: {fraction: 0.9}, steps: [{rate: 1, for: 60s}]", None, "steps and load: {fraction: ...} contradict"),
    ("load: {percentile: 90}", None, "a percentile is of a trace's own load: write trace: {file: ...}"),
    ("load: {percentile: 90}, rate: 4", None, "a percentile is of a trace's own load"),
    ("load: {fraction: 90}", None, "fraction is a share of the highest throughput, such as 0.9"),
    ("load: {percentile: 190}", None, "percentile must be at most 100"),
    ("load: {fraction: 0.9, percentile: 9}", None, "load is either a fraction or a percentile"),
    ("load: 0.9", None, "expected load, found 0.9"),
    ("rate: 0", None, "rate (requests/s) must be above 0"),
    ("rate: 4, burstiness: 0", None, "burstiness must be above 0"),
    ("rate: 4, burstiness: 0.5, arrivals: poisson", None, "poisson arrivals have no burstiness: write arrivals: gamma"),
    ("rate: 4, arrivals: gamma", None, "arrivals: gamma needs burstiness"),
    ("ramp: {from: 1, to: 2}", None, "ramp lacks the key 'over'"),
    ("ramp: {from: 0, to: 0, over: 60s}", None, "a ramp needs a rate above 0"),
    ("ramp: {from: 1, to: 2, over: 2s}", None, "this lasts 2 s, less than warm-up and window together (5 s)"),
    ("steps: [{rate: 0, for: 60s}]", None, "steps need a rate above 0"),
    ("arrivals: trace", None, "arrivals: trace needs the trace: write trace: {file: trace.csv}"),
    ("trace: t.csv, arrivals: poisson", None, "a trace and arrivals: poisson contradict each other"),
    ("trace: t.csv, conversation: {turns: 3}", None, "a trace has a time for every request"),
    ("trace: nowhere.csv", None, "s.yaml:4:56: the file nowhere.csv cannot be read: No such file or directory"),
    ("trace: {file: t.csv, speed: 50}", None, "t.csv: the trace lasts 2 s at speed 50, less than warm-up and window"),
    ("trace: {file: t.csv, speed: 0}", None, "speed must be above 0"),
    ("trace: {file: t.csv, columns: {time: tim_s}}", None, "no column 'tim_s': did you mean time_s?"),
    ("trace: {file: t.csv, unit: h}", None, "'h' is no unit of time"),
    ("prompts: t.csv", None, "input_tokens and prompts contradict each other"),
    ("prefix: {tokens: 96}", None, "a prefix of 96 tokens leaves nothing of input_tokens"),
    ("prefix: {groups: 3}", None, "prefix lacks the key 'tokens'"),
    ("conversation: {turns: 1}", None, "turns must be at least 2"),
    ("stop: never", None, "'never' is no way to stop"),
]


@pytest.mark.parametrize(("text", "axis", "says"), BAD)
def test_what_is_wrong_is_said_in_one_line_with_its_place(text, axis, says, tmp_path):
    trace(tmp_path)
    workload = f"{LENGTHS}, {text}"
    column = len("workload: {") + len(LENGTHS) + 3
    with pytest.raises(BadInput) as caught:
        expansion(workload, f"model: tiny-dense, {axis}" if axis else "model: tiny-dense", folder=tmp_path)
    message = str(caught.value)
    assert says.replace("{key}", str(column)).replace("{col}", str(column + len("arrivals: "))) in message
    assert message.startswith("s.yaml:")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{distribution: pareto, max: 9}", "'pareto' is no distribution"),
        ("{distribution: uniform, min: 9, max: 8}", "max must be at least min (9), found 8"),
        ("{distribution: uniform, mean: 9, max: 8}", "a uniform distribution has no mean: it has min, max"),
        ("{distribution: normal, mean: 9, stdev: 8}", "lacks the key 'max': the engine is made ready for the longest"),
        ("{distribution: normal, mean: 9, max: 99}", "a normal distribution needs mean and stdev"),
        ("{distribution: lognormal, mean: 9, p90: 9, max: 99}", "needs mean and stdev, or median and p90"),
        ("{distribution: lognormal, median: 9, p90: 9, max: 99}", "p90 must be above the median"),
        ("{distribution: normal, mean: -9, stdev: 1, max: 99}", "mean must be at least 0"),
        ("{mean: 9}", "input_tokens lacks the key 'distribution'"),
        ("{file: t.csv}", "it has the columns time_s, input_tokens, output_tokens: write column: ..."),
        ("{file: t.csv, column: input}", "t.csv: there is no column 'input': did you mean input_tokens?"),
        ("{file: t.csv, colum: input}", "unknown key 'colum' in input_tokens: did you mean column?"),
    ],
)
def test_wrong_lengths_are_said(text, says, tmp_path):
    trace(tmp_path)
    with pytest.raises(BadInput) as caught:
        only(f"input_tokens: {text}, output_tokens: 4", folder=tmp_path)
    assert says in str(caught.value)
    assert str(caught.value).startswith("s.yaml:4:")


def test_wrong_prompts_are_said(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"prompt": "Hi"}\n{"text": 3}\n')
    with pytest.raises(BadInput, match=r"s.yaml:4:21: p.jsonl: line 2 of the prompts: write"):
        only("prompts: p.jsonl, output_tokens: 4", folder=tmp_path)
    (tmp_path / "p.jsonl").write_text('{"prompt": "Hi"}\n')
    with pytest.raises(BadInput, match=r"s.yaml:4:12: lines without max_tokens need output_tokens"):
        only("prompts: p.jsonl", folder=tmp_path)


def test_prompts_as_texts_need_a_tokenizer_and_nothing_that_is_token_ids(tmp_path):
    library = pytest.importorskip("tokenizers", reason="the library tokenizers is not installed")
    data = library.Tokenizer(library.models.WordLevel({"word": 0}, "word")).to_str().encode()
    (tmp_path / "t.json").write_bytes(data)
    assert only(f"{LENGTHS}, tokenizer: t.json", folder=tmp_path).tokenizer == digest_of(data)
    with pytest.raises(BadInput, match=r"s.yaml:4:\d+: texts of exact lengths have no prefix: leave"):
        only(f"{LENGTHS}, tokenizer: t.json, prefix: {{tokens: 4}}", folder=tmp_path)
    (tmp_path / "t.json").write_text("[]")
    with pytest.raises(BadInput, match=r"s.yaml:4:\d+: t.json: it is no tokenizer.json"):
        only(f"{LENGTHS}, tokenizer: t.json", folder=tmp_path)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_makes_requests(preset):
    (cell,) = expansion(f"preset: {preset}").cells
    assert PRESETS[preset].source
    asked = make_traffic(cell.workload, prompt_seed=1, vocab_size=2048, tables=expansion(f"preset: {preset}").tables)
    for request in map(asked.request, range(2 * asked.turns)):
        assert len(request.prompt) == request.input_tokens
        assert request.input_tokens + request.output_tokens <= cell.workload.context_tokens
    assert json.dumps(cell.factors)
    assert describe(cell)


def test_presets_take_a_rate():
    assert only("preset: rag, rate: 3").arrivals == Arrivals("poisson", 3.0)


def test_the_lengths_of_presets_are_those_of_their_sources():
    asked = make_traffic(only("preset: azure-chat"), prompt_seed=1, vocab_size=99, tables=expansion(LENGTHS).tables)
    pairs = sorted(asked.source.lengths.of(n)[0] for n in range(20_000))
    assert pairs[10_000] == pytest.approx(1020, rel=0.05)
    assert pairs[18_000] == pytest.approx(2735, rel=0.05)


def test_factors_leave_out_what_is_not_asked_for():
    assert only(LENGTHS).factors == {
        "input_tokens": 96,
        "output_tokens": 48,
        "concurrency": 1,
        "arrivals": "closed",
        "seed": 0,
        "request": {},
    }
    assert only(f"{LENGTHS}, rate: 4, request: {{speed: 1, groups: 1}}").factors == {
        "input_tokens": 96,
        "output_tokens": 48,
        "arrivals": {"process": "poisson", "rate_per_s": 4.0},
        "seed": 0,
        "request": {"groups": 1, "speed": 1},
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rate: 4", "96/48 tokens poisson 4/s"),
        ("load: {fraction: 0.9}", "96/48 tokens poisson at 0.9 of the highest"),
        ("rate: 4, burstiness: 0.5, conversation: {turns: 3}", "96/48 3 turns tokens gamma 4/s burstiness 0.5"),
        ("ramp: {from: 1, to: 9, over: 60s}", "96/48 tokens poisson 1..9/s"),
    ],
)
def test_descriptions(text, words):
    assert describe(expansion(f"{LENGTHS}, {text}").cells[0]).endswith(words)
