"""What a sweep file may say, and the line that is shown where it says something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from joulemark.warehouse.errors import BadInput, NewerSchema
from joulemark.workloads.cell import Parallel
from joulemark.workloads.sweep import load_sweep, parse_sweep
from joulemark.workloads.sweep.model import Bound, EngineAsk, Measure, ModelAsk, Selection

HEAD = "schema: 1\nname: s\nworkload: {input_tokens: 8, output_tokens: 4}\n"


def sweep(matrix: str, more: str = ""):
    return parse_sweep(f"{HEAD}matrix: {matrix}\n{more}\n", "s.yaml")


def values(matrix: str, axis: str):
    return next(a.values for a in sweep(matrix).axes if a.name == axis)


def test_the_example_of_the_design_is_read():
    found = parse_sweep(DESIGN, "dense-vs-moe.yaml")
    assert found.name == "dense-vs-moe"
    assert found.text == DESIGN
    assert [a.name for a in found.axes] == [
        "model",
        "quantization",
        "engine",
        "accelerator",
        "parallel",
        "concurrency",
    ]
    assert found.axes[4].values == (Parallel(tensor=1), Parallel(tensor=2, expert=True))
    assert found.axes[5].values == (8, 16, 32, 64, 128, 256)
    assert found.measure == Measure(3, 1, "interleave", 30.0, 120.0, "node")
    assert found.slo == {"ttft_p99": 2.0, "itl_p99": 0.06}
    assert found.engines["vllm"].version == "0.33.0"
    assert found.engines["vllm"].args == {"max-model-len": 8192}


def test_scalars_stand_for_lists_of_one():
    assert values("{model: tiny-dense, concurrency: 4}", "concurrency") == (4,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{from: 1, to: 64, times: 4}", (1, 4, 16, 64)),
        ("{from: 1, to: 70, times: 4}", (1, 4, 16, 64)),
        ("{from: 2, to: 8, plus: 2}", (2, 4, 6, 8)),
        ("{from: 5, to: 5, plus: 1}", (5,)),
        ("[1, {from: 8, to: 16, times: 2}, 100]", (1, 8, 16, 100)),
    ],
)
def test_ranges(text, expected):
    assert values(f"{{model: tiny-dense, concurrency: {text}}}", "concurrency") == expected


def test_ranges_of_fractions_on_dotted_axes():
    found = values("{model: tiny-dense, request.temperature: {from: 0.1, to: 0.5, plus: 0.1}}", "request.temperature")
    assert found == (0.1, 0.2, 0.3, 0.4, 0.5)


def test_engine_arguments_lose_their_dashes():
    found = sweep("{model: tiny-dense, engine.--n_batch: [1, 2]}", "engines: {llamacpp: {args: {--n_ubatch: 64}}}")
    assert found.axes[1].name == "engine.n_batch"
    assert found.engines["llamacpp"].args == {"n_ubatch": 64}


def test_models_by_name_by_mapping_and_by_selection():
    found = values('{model: [a/b, {name: a/b, weights: dummy}, {architecture: moe, active_params: "<5e9"}]}', "model")
    assert found[:2] == (ModelAsk("a/b"), ModelAsk("a/b", weights="dummy"))
    assert found[2] == Selection(architecture="moe", active_params=Bound(high=5e9))


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [("<5e9", 4.9e9, 5e9), ("<=5B", 5e9, 5.1e9), (">500M,<=1B", 1e9, 5e8), (">= 2T", 2e12, 1e12)],
)
def test_bounds(text, inside, outside):
    found = values(f'{{model: {{total_params: "{text}"}}}}', "model")[0].total_params
    assert found.holds(inside)
    assert not found.holds(outside)


def test_an_engine_with_version_and_arguments():
    found = values('{model: a/b, engine: [vllm, {name: vllm, version: "0.32.0", args: {x: 1}}]}', "engine")
    assert found == (EngineAsk("vllm"), EngineAsk("vllm", "0.32.0", {"x": 1}))


def test_links_tie_axes_together():
    found = values("{model: a/b, link: [{engine: vllm, quantization: fp8}, {engine: sglang, kv_type: fp8}]}", "link")
    assert found == (
        {"engine": EngineAsk("vllm"), "quantization": "fp8"},
        {"engine": EngineAsk("sglang"), "kv_type": "fp8"},
    )


def test_workload_presets_and_their_changes():
    found = parse_sweep("schema: 1\nname: s\nmatrix: {model: a/b}\nworkload: {preset: chat, seed: 3}", "s")
    assert found.workload.fields == {"input_tokens": 1024, "output_tokens": 1024, "seed": 3}


def test_a_workload_axis_replaces_the_workload():
    text = "schema: 1\nname: s\nmatrix: {model: a/b, workload: [chat, {input_tokens: 10, output_tokens: 5}]}"
    assert len(parse_sweep(text, "s").axes[1].values) == 2


def test_environment_paths_start_at_the_file(tmp_path):
    file = tmp_path / "s.yaml"
    file.write_text(f"{HEAD}matrix: {{model: tiny-dense}}\nengines: {{vllm: {{environment: envs/v}}}}\n")
    found = load_sweep(file)
    assert found.engines["vllm"].environment == str(tmp_path / "envs/v")
    assert found.folder == tmp_path
    assert found.source == str(file)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("matrx: {}", "s.yaml:4:1: unknown key 'matrx' in the sweep file: did you mean matrix?"),
        ("matrix: {modl: x}", "s.yaml:4:10: unknown axis 'modl': did you mean model?"),
        ("matrix: {model: x/y, concurency: 1}", "did you mean concurrency?"),
        ("matrix: {quantization: bf16}", "s.yaml:4:9: the matrix lacks the axis 'model'"),
        ("matrix: [a]", "expected matrix as a mapping of axes, found a list"),
        ("matrix: {model: x/y, quantization: bf17}", "s.yaml:4:36: 'bf17' is no quantization: did you mean bf16?"),
        ("matrix: {model: x/y, quantization: q4}", "'q4' is no quantization: did you mean q4_"),
        ("matrix: {model: x/y, kv_type: fp9}", "did you mean fp8?"),
        ("matrix: {model: x/y, engine: vlm}", "'vlm' is no engine: did you mean vllm?"),
        ("matrix: {model: x/y, parallel: {tenser: 2}}", "unknown key 'tenser' in parallel: did you mean tensor?"),
        ("matrix: {model: x/y, parallel: {tensor: 0}}", "tensor must be at least 1, found 0"),
        ("matrix: {model: x/y, parallel: {expert: 1}}", "expected expert, true or false, found 1"),
        ("matrix: {model: x/y, concurrency: [1, two]}", "s.yaml:4:39: expected concurrency, a whole number"),
        ("matrix: {model: x/y, concurrency: []}", "the axis 'concurrency' has no values"),
        ("matrix: {model: x/y, concurrency: 1.5}", "a whole number, found 1.5"),
        ("matrix: {model: x/y, concurrency: {from: 1, to: 4}}", "a range needs either 'times' or 'plus'"),
        ("matrix: {model: x/y, concurrency: {from: 1, to: 4, times: 1}}", "a range must grow"),
        ("matrix: {model: x/y, concurrency: {from: 0, to: 4, times: 2}}", "a range must grow"),
        ("matrix: {model: x/y, concurrency: {from: 9, to: 4, plus: 1}}", "a range must grow: it starts at 9"),
        ("matrix: {model: x/y, concurrency: {from: 1, to: 9999, plus: 1}}", "more than 1000 values"),
        ("matrix: {model: x/y, concurrency: {from: 1, to: 4, times: 1.5}}", "a whole number, found 1.5"),
        ("matrix: {model: x/y, engine.: 1}", "unknown axis 'engine.'"),
        ("matrix: {model: x/y, engine.a: {b: 1}}", "unknown key 'b' in range"),
        ("matrix: {model: x/y, engine.a: 1, engine.--a: 2}", "the axis 'engine.a' was already given at s.yaml:4:22"),
        ("matrix: {model: x/y, link: [{model: a/b}]}", "the axis 'model' was already given"),
        ("matrix: {model: x/y, link: [{}]}", "found an empty one"),
        ("matrix: {model: x/y, model: z/y}", "the key 'model' was already given at s.yaml:4:10"),
        ("matrix: {model: {architecture: mo}}", "'mo' is no architecture: did you mean moe?"),
        ("matrix: {model: {active_params: 5}}", "expected active_params as a comparison such as '<5e9'"),
        ('matrix: {model: {active_params: "5e9"}}', "'5e9' is no comparison"),
        ("matrix: {model: {}}", "an empty selection"),
        ("matrix: {model: {name: x/y, weights: fake}}", "'fake' is no kind of weights"),
        ("matrix: {model: x/y, workload: chatt}", "'chatt' is no workload preset: did you mean chat?"),
        ("matrix: {model: x/y, workload: {input_tokens: 0}}", "input_tokens must be at least 1"),
        ("matrix: {model: x/y, power_limit_w: high}", "expected power_limit_w in watts, a whole number"),
        ("matrix: {model: x/y}\nexclude: [{}]", "an empty exclude entry would exclude everything"),
        ("matrix: {model: x/y}\nexclude: [{modle: x}]", "s.yaml:5:12: unknown axis 'modle'"),
        ("matrix: {model: x/y, concurrency: 1}\ninclude: [{model: x/y}]", "s.yaml:5:11: this include entry lacks"),
        ("matrix: {model: x/y}\ninclude: [{model: x/y, concurrency: [1, 2]}]", "expected concurrency, a whole number"),
        ("matrix: {model: x/y}\nmeasure: {repeats: 0}", "repeats must be at least 1"),
        ("matrix: {model: x/y}\nmeasure: {warmup: soon}", "warmup: 'soon' is not a duration"),
        ("matrix: {model: x/y}\nmeasure: {window: 0s}", "window must be longer than nothing"),
        ("matrix: {model: x/y}\nmeasure: {order: random}", "order 'random' is not there yet; only 'interleave' is"),
        (
            "matrix: {model: x/y}\nmeasure: {client: there}",
            "'there' is no place of the load client: known: beside, apart",
        ),
        ("matrix: {model: x/y}\nmeasure: {isolation: rack}", "'rack' is no isolation: known: node, gpu"),
        ("matrix: {model: x/y}\nmeasure: {nodes: 0}", "nodes ('all', or how many) must be at least 1, found 0"),
        ("matrix: {model: x/y}\nmeasure: {nodes: some}", "expected nodes ('all', or how many), a whole number"),
        ("matrix: {model: x/y}\nslo: {ttft_p98: 2s}", "unknown key 'ttft_p98' in slo: did you mean ttft_p9"),
        ("matrix: {model: x/y}\nengines: {vlm: {}}", "s.yaml:5:11: 'vlm' is no engine: did you mean vllm?"),
        ("matrix: {model: x/y}\nengines: {vllm: {version: 0.33}}", "write it in quotes, found 0.33"),
        ("matrix: {model: x/y}\nengines: {vllm: {args: [a]}}", "expected engine arguments as a mapping, found a list"),
        (
            "matrix: {model: x/y}\nengines: {vllm: {args: {a: [1]}}}",
            "expected a text, number, true, false or null for a",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_place(text, says):
    whole = f"{HEAD}{text}\n"
    with pytest.raises(BadInput) as caught:
        parse_sweep(whole, "s.yaml")
    message = str(caught.value)
    assert says in message
    assert message.startswith("s.yaml:")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name: s\nmatrix: {model: x/y}", "lacks the key 'schema'"),
        ("schema: 1\nmatrix: {model: x/y}", "lacks the key 'name'"),
        ("schema: 1\nname: s", "lacks the key 'matrix'"),
        ("schema: 1\nname: a b\nmatrix: {model: x/y}\nworkload: chat", "becomes part of file names"),
        ("schema: 1\nname: s\nmatrix: {model: x/y}", "no input_tokens is given"),
        ("schema: 1\nname: s\nmatrix: {model: x/y}\nworkload: {input_tokens: 4}", "no output_tokens is given"),
        ("schema: one\nname: s\nmatrix: {model: x/y}", "expected schema, a whole number"),
    ],
)
def test_what_is_missing_is_said(text, says):
    with pytest.raises(BadInput, match=says):
        parse_sweep(text, "s.yaml")


def test_a_newer_schema_is_refused_before_its_keys_are_looked_at():
    with pytest.raises(NewerSchema, match=r"s.yaml:1:9: schema 7 is newer"):
        parse_sweep("schema: 7\nname: s\nnovelty: 1", "s.yaml")


def test_files_that_cannot_be_read_are_bad_input(tmp_path):
    with pytest.raises(BadInput, match="there is no sweep file"):
        load_sweep(tmp_path / "nowhere.yaml")
    with pytest.raises(BadInput, match="cannot be read"):
        load_sweep(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9")
    with pytest.raises(BadInput, match="not text in UTF-8"):
        load_sweep(Path(tmp_path / "latin.yaml"))


DESIGN = """\
schema: 1
name: dense-vs-moe
matrix:
  model: [llama-3.1-8b, qwen3-30b-a3b]
  quantization: [bf16, fp8]
  engine: [vllm, sglang]
  accelerator: [H100, H200]
  parallel: [{tensor: 1}, {tensor: 2, expert: true}]
  concurrency: {from: 8, to: 256, times: 2}
exclude: [{model: llama-3.1-8b, parallel: {expert: true}}]
include:
  - {model: llama-3.1-8b, quantization: fp8, engine: vllm, accelerator: H200, parallel: {tensor: 1}, concurrency: 512}
workload: {input_tokens: 1024, output_tokens: 256, arrivals: closed, seed: 7}
measure: {repeats: 3, starts: 1, order: interleave, warmup: 30s, window: 120s, isolation: node}
slo: {ttft_p99: 2s, itl_p99: 60ms}
engines: {vllm: {version: "0.33.0", args: {max-model-len: 8192}}}
"""
