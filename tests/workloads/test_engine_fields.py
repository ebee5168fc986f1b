"""Engines in a sweep file: endpoints, and secrets that do not belong there."""

import pytest

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.engines.endpoint import EndpointPlace
from joulemark.workloads.matrix import expand
from joulemark.workloads.sweep import parse_sweep

SWEEP = """
schema: 1
name: s
matrix: {{model: tiny-dense, quantization: q4_0, engine: {engine}, concurrency: 1}}
workload: {{input_tokens: 32, output_tokens: 16}}
"""


def parsed(engine="endpoint", more=""):
    return parse_sweep(SWEEP.format(engine=engine) + more, "s.yaml")


@pytest.mark.parametrize(
    ("engine", "more", "place", "version"),
    [
        ("endpoint", "engines: {endpoint: http://h:8000}", EndpointPlace("http://h:8000"), "undeclared"),
        (
            "endpoint",
            "engines: {endpoint: {url: https://h/v1, version: vllm 0.33.0, served: m, api_key_env: MY_KEY, "
            "devices: [0, 1]}}",
            EndpointPlace("https://h/v1", "m", "MY_KEY", ("0", "1")),
            "vllm 0.33.0",
        ),
        ("{name: endpoint, url: http://h:1, version: a}", "", EndpointPlace("http://h:1"), "a"),
        (
            "{name: endpoint, url: http://h:1, version: a}",
            "engines: {endpoint: http://other:1}",
            EndpointPlace("http://h:1"),
            "a",
        ),
    ],
)
def test_where_an_endpoint_is(engine, more, place, version):
    expansion = expand(parsed(engine, more))
    assert expansion.endpoints == {version: place}
    (cell,) = expansion.cells
    assert cell.deployment.engine.version == version
    assert "http" not in repr(cell.factors), "where it is makes no other cell"
    assert cell.deployment.accelerator == "any" or cell.deployment.on_cpu


def test_every_precision_may_be_declared_of_an_endpoint():
    for quantization in ("q4_0", "nvfp4", "bf16"):
        text = SWEEP.format(engine="endpoint").replace("q4_0", quantization)
        (cell,) = expand(parse_sweep(text + "engines: {endpoint: http://h:1}", "s.yaml")).cells
        assert cell.deployment.quantization == quantization
        assert cell.deployment.model.location == "tiny-dense"


@pytest.mark.parametrize(
    ("engine", "more", "words"),
    [
        ("endpoint", "", "the engine endpoint needs a url"),
        (
            "[{name: endpoint, url: http://a:1}, {name: endpoint, url: http://b:1}]",
            "",
            "two endpoints are both declared as version 'undeclared'",
        ),
    ],
)
def test_an_endpoint_without_a_place_and_two_with_one_name(engine, more, words):
    with pytest.raises(BadInput, match=words):
        expand(parsed(engine, more))


@pytest.mark.parametrize(
    ("engine", "more", "words"),
    [
        ("{name: vllm, url: http://h:1}", "", "url is for the engine 'endpoint'"),
        ("{name: endpoint, served: m}", "", "served is given without the url"),
        ("{name: endpoint, url: h:8000}", "", "is no url of an endpoint"),
        ("{name: endpoint, url: 'http://me:secret@h:1'}", "", "no user, password or query"),
        ("{name: endpoint, url: 'http://h:1?key=x'}", "", "no user, password or query"),
        ("{name: endpoint, url: http://h:1, api_key_env: sk-abc-def}", "", "the name of the variable"),
        ("endpoint", "engines: {endpoint: {url: http://h:1, environment: x}}", "unknown key 'environment'"),
        ("{name: endpoint, url: http://h:1, environment: x}", "", "an endpoint runs already"),
        ("vllm", "engines: {vllm: {args: {env.HF_TOKEN: x}}}", "env.HF_TOKEN is a secret"),
        ("vllm", "engines: {vllm: {args: {hf-token: x}}}", "hf-token is a secret"),
        ("{name: vllm, args: {api-key: x}}", "", "api-key is a secret"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(engine, more, words):
    with pytest.raises(BadInput, match=rf"^s\.yaml:\d+:\d+: .*{words}"):
        parsed(engine, more)


@pytest.mark.parametrize(
    "line", ["  engine.env.MY_API_KEY: [a]\n", "  request.api_key: [a]\n", "  engine.auth-token: [a]\n"]
)
def test_no_axis_is_a_secret(line):
    text = f"schema: 1\nname: s\nmatrix:\n  model: tiny-dense\n  concurrency: 1\n{line}"
    with pytest.raises(BadInput, match=r"s\.yaml:6:3: .* is a secret"):
        parse_sweep(text + "workload: {input_tokens: 3, output_tokens: 3}\n", "s.yaml")


@pytest.mark.parametrize(
    "key",
    ["max-num-batched-tokens", "max-total-tokens", "skip-tokenizer-init", "env.VLLM_CPU_KVCACHE_SPACE", "eos-token"],
)
def test_what_only_sounds_like_one_is_none(key):
    assert parsed("vllm", f"engines: {{vllm: {{args: {{{key}: 1}}}}}}").engines["vllm"].args == {key: 1}
