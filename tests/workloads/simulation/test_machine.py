"""The roofline and the power model against arithmetic by hand, and what must hold whatever the numbers are."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel
from joulemark.workloads.models.catalogue import catalogue
from joulemark.workloads.models.facts import flops_per_token, kv_bytes_per_token
from joulemark.workloads.simulation.build import format_of, machine_of, why_not
from joulemark.workloads.simulation.hardware import parameters, simulated_gpus
from joulemark.workloads.simulation.machine import Load, Machine, cost


def deployment(model="llama-3.1-8b", accelerator="H100", quantization="bf16", power_limit_w=None, **parallel):
    reference = ModelRef(model, "hub", model)
    engine = EngineRef("simulated", "1")
    return Deployment(reference, quantization, "auto", engine, accelerator, Parallel(**parallel), power_limit_w)


def machine(model="llama-3.1-8b", **changes):
    return machine_of(deployment(model, **changes), catalogue()[model].facts)


def test_one_request_reads_all_weights_once():
    m, facts, gpu = machine(), catalogue()["llama-3.1-8b"].facts, simulated_gpus()["H100"]
    known = {name: p.value for name, p in parameters().items()}
    read = 2 * (facts.total_params - facts.embedding_params) + 1000 * kv_bytes_per_token(facts, 16)
    seconds = read / (gpu.memory_bytes_per_s * known["memory_efficiency"])
    seconds += (known["step_us"] + known["sequence_us"]) / 1e6
    found = cost(m, Load(decoding=1, seen=999, logits=1))
    assert found.read_bytes == pytest.approx(read)
    assert found.seconds == pytest.approx(seconds, rel=1e-3)
    assert found.flops == pytest.approx(flops_per_token(facts, 999))


def test_a_long_prompt_is_bound_by_arithmetic():
    found = cost(machine(), Load(0, 0, prompt_tokens=8000, prompt_seen=8000 * 4000, logits=1))
    assert found.compute_share > 0.9 > found.memory_share
    assert found.watts == pytest.approx(700, rel=0.05)


def test_decoding_a_few_is_bound_by_memory():
    found = cost(machine(), Load(8, 8 * 500, logits=8))
    assert found.memory_share > 0.6
    assert found.compute_share < 0.1


@pytest.mark.parametrize("model", ["llama-3.1-70b", "qwen3-32b", "qwen3-30b-a3b", "gpt-oss-120b"])
def test_two_devices_share_weights_work_and_room(model):
    precision = "mxfp4" if model == "gpt-oss-120b" else "bf16"
    two, four = (machine(model, accelerator="H200", quantization=precision, tensor=n) for n in (2, 4))
    load = Load(16, 16 * 400, logits=16)
    assert cost(four, load).read_bytes == pytest.approx(cost(two, load).read_bytes / 2, rel=1e-6)
    assert cost(four, load).flops == pytest.approx(cost(two, load).flops / 2)
    assert four.kv_tokens > 2 * two.kv_tokens


def test_replicas_share_requests_not_weights():
    one, two = machine(), machine(data=2)
    load = Load(16, 16 * 400, logits=16)
    assert cost(two, load).seconds == pytest.approx(cost(one, Load(8, 8 * 400, logits=8)).seconds)
    assert two.kv_tokens == pytest.approx(2 * one.kv_tokens, rel=1e-6)


def test_a_pipeline_reads_all_weights_for_every_token():
    one, two = machine(), machine(pipeline=2)
    assert two.weight_bytes == pytest.approx(one.weight_bytes)
    assert two.kv_tokens > 2 * one.kv_tokens


def test_experts_are_read_as_they_are_needed():
    m = machine("qwen3-30b-a3b", accelerator="H200")
    few, many = (cost(m, Load(n, n * 10, logits=n)).read_bytes for n in (1, 512))
    assert m.weight_bytes + m.expert_bytes * 8 / 128 == pytest.approx(few, rel=0.01)
    assert many > m.weight_bytes + 0.99 * m.expert_bytes


def test_sliding_windows_bound_what_is_seen():
    m = machine("gpt-oss-120b", accelerator="H200", quantization="mxfp4")
    near, far = (cost(m, Load(1, seen, logits=1)).read_bytes for seen in (128, 128 * 100))
    assert far - near == pytest.approx(128 * 99 * m.kv_bytes_per_token * (1 - m.sliding_share))


def test_precisions_that_the_gpu_cannot_multiply_are_unpacked():
    h100, b200, a100 = (simulated_gpus()[name] for name in ("H100", "B200", "A100"))
    assert [format_of("fp8-block", g) for g in (h100, b200, a100)] == ["fp8", "fp8", "bf16"]
    assert [format_of("nvfp4", g) for g in (h100, b200)] == ["bf16", "fp4"]
    assert {format_of(q, b200) for q in ("bf16", "w4a16", "awq", "gptq", "int8-w8a16")} == {"bf16"}
    assert format_of("int8-w8a8", a100) == "int8"


def test_a_power_limit_slows_what_would_take_more():
    load = Load(0, 0, prompt_tokens=8000, prompt_seen=8000 * 4000, logits=1)
    free, capped = cost(machine(), load), cost(machine(power_limit_w=350), load)
    assert capped.watts == 350
    assert 1.0 < capped.seconds / free.seconds < free.watts / capped.watts
    light = Load(1, 10, logits=1)
    assert cost(machine(power_limit_w=600), light) == cost(machine(), light)


@given(
    decoding=st.integers(0, 4096),
    seen_each=st.integers(1, 100_000),
    prompt=st.integers(0, 8192),
    label=st.sampled_from(sorted(simulated_gpus())),
    limit=st.floats(0.6, 1.0),
)
def test_no_step_takes_more_than_the_limit_or_less_than_idle(decoding, seen_each, prompt, label, limit):
    gpu = simulated_gpus()[label]
    m = replace(machine("qwen3-0.6b", accelerator=label), limit_w=limit * gpu.limit_w)
    found = cost(m, Load(decoding, decoding * seen_each, prompt, prompt * prompt // 2, decoding))
    assert m.idle_w <= found.watts <= m.limit_w
    assert found.seconds > 0
    assert 0 <= found.compute_share <= 1
    assert 0 <= found.memory_share <= 1


@given(st.integers(1, 2000), st.integers(1, 2000))
def test_more_requests_never_take_less_time(few, more):
    m = machine()
    first, second = (cost(m, Load(n, n * 500, logits=n)).seconds for n in (few, few + more))
    assert first <= second


def test_a_machine_survives_json():
    m = machine("qwen3-30b-a3b", tensor=2)
    assert Machine(**json.loads(json.dumps(asdict(m)))) == m


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"accelerator": "cpu"}, "CPUs are not simulated: name an accelerator"),
        ({"accelerator": "P4"}, "no figures of P4"),
        ({"power_limit_w": 50}, "the power limit of H100 is over 120 W and up to 700 W"),
        ({"model": "llama-3.1-70b"}, "the weights of llama-3.1-70b do not fit on 1 x H100"),
        ({"tensor": 3}, "32 attention heads of llama-3.1-8b cannot be shared out evenly over 3 devices"),
        ({"expert": True}, "expert parallelism needs experts"),
    ],
)
def test_what_cannot_be_simulated_is_said(changes, says):
    model = changes.get("model", "llama-3.1-8b")
    expected = catalogue()[model].facts
    with pytest.raises(BadInput, match=says):
        machine_of(deployment(**changes), expected)


def test_models_without_a_known_shape_cannot_be_simulated():
    assert "only models of the catalogue" in (why_not(deployment(), None) or "")


def test_every_figure_has_a_source():
    for gpu in simulated_gpus().values():
        assert gpu.source
        assert gpu.idle_source
        assert gpu.idle_w[0] < gpu.idle_w[1] < gpu.limit_w
    for name, parameter in parameters().items():
        assert parameter.source, name
