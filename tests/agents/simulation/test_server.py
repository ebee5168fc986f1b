"""The simulated engine as clients, scrapers and meters see it."""

from __future__ import annotations

import http.client
import itertools
import json
import signal
import time

import pytest

from joulemark.agents.http import get
from joulemark.agents.meters.simulated import SimulatedStates
from joulemark.agents.prometheus import summed
from joulemark.workloads.engines.simulated import Simulated
from joulemark.workloads.models.catalogue import catalogue
from joulemark.workloads.simulation.build import machine_of
from joulemark.workloads.simulation.forecast import closed_loop

ASK = {"prompt": list(range(200)), "max_tokens": 20, "stream": True}
USAGE = {"include_usage": True, "continuous_usage_stats": True}


def events(text):
    return [line.removeprefix("data: ") for line in text.split("\n\n") if line]


def test_a_stream_tells_every_token_and_its_usage(serve):
    server = serve().wait_ready()
    status, text = server.ask({**ASK, "stream_options": USAGE})
    *said, total, done = events(text)
    said = [json.loads(event) for event in said]
    assert (status, done) == (200, "[DONE]")
    assert [event["usage"]["completion_tokens"] for event in said] == list(range(1, 21))
    assert [event["choices"][0]["finish_reason"] for event in said] == [None] * 19 + ["length"]
    wanted = {"prompt_tokens": 200, "completion_tokens": 20, "total_tokens": 220}
    assert json.loads(total) == {"choices": [], "usage": wanted}


def test_one_document_without_streaming_and_chat(serve):
    server = serve().wait_ready()
    status, text = server.ask({"prompt": "x" * 400, "max_tokens": 3})
    answer = json.loads(text)
    assert (status, answer["choices"][0]["text"], answer["usage"]["prompt_tokens"]) == (200, " x x x", 101)
    chat = {"messages": [{"role": "user", "content": "y" * 40}], "max_tokens": 2}
    said = json.loads(server.ask(chat, "/v1/chat/completions")[1])
    assert said["choices"][0]["message"]["content"] == " x x"


def test_time_and_energy_are_those_of_the_model(serve):
    """The wall clock adds at most a wake-up to the modelled time; the counter has the modelled energy to the step."""
    server = serve().wait_ready()
    forecast = closed_loop(machine(server), 8, 1, itertools.repeat((200, 60)))
    begun, before = time.monotonic(), server.meter.read()[0]
    server.ask({**ASK, "max_tokens": 60})
    took, after = time.monotonic() - begun, server.meter.read()[0]
    joules, seconds = (after.energy_uj - before.energy_uj) / 1e6, (after.at_ns - before.at_ns) / 1e9
    assert took >= forecast.request_s
    busy_j = forecast.request_s * forecast.watts
    assert joules == pytest.approx(busy_j + (seconds - forecast.request_s) * forecast.idle_watts, rel=1e-3)


def machine(server):
    return machine_of(server.deployment, catalogue()["llama-3.1-8b"].facts)


def test_counters_and_state_of_the_engine(serve):
    server = serve().wait_ready()
    for _ in range(3):
        server.ask(ASK)
    page = get(f"{server.url}/metrics").decode()
    state = Simulated().engine_state(summed(page))
    assert (state["prompt_tokens_total"], state["generation_tokens_total"]) == (600, 60)
    assert (state["running"], state["waiting"], state["kv_cache_usage"], state["preemptions_total"]) == (0, 0, 0, 0)
    assert state["flops_total"] > 0 < state["read_bytes_total"]
    reported = Simulated().reported({"/server_info": json.loads(get(f"{server.url}/server_info"))})
    assert Simulated().mismatches(server.deployment, reported) == []
    assert Simulated().mismatches(server.deployment, {**reported, "quantization": "fp8"})


def test_a_client_that_leaves_is_forgotten(serve):
    server = serve().wait_ready()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", "/v1/completions", json.dumps({**ASK, "max_tokens": 4000}))
    assert connection.getresponse().read(10)
    assert server.metrics()["simulated:running"] == 1
    connection.close()
    deadline = time.monotonic() + 20
    while server.metrics()["simulated:running"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert server.ask(ASK)[0] == 200


def test_keys_bad_requests_and_unknown_paths(serve):
    server = serve(key="the-key").wait_ready()
    assert server.ask(ASK, key="other")[0] == 401
    assert server.ask(ASK)[0] == 200
    assert server.ask([1])[0] == 400
    assert "KV cache" in server.ask({**ASK, "max_tokens": 10**9})[1]
    assert server.ask(ASK, "/v1/embeddings")[0] == 404
    assert get(f"{server.url}/v1/models") is None
    assert b"simulated" in get(f"{server.url}/v1/models", api_key="the-key")


def test_gpus_are_idle_loaded_and_bare_again(serve, clock):
    server = serve(devices=2).wait_ready()
    states = SimulatedStates("node", clock, server.meter)
    watts = [reading.power_mw / 1000 for reading in server.meter.read()]
    assert watts == [120, 120, 70, 70]
    states.due(0.0)
    server.ask(ASK)
    rows = states.due(1.0)
    assert [row.get("power_limit_mw") for row in rows] == [700_000, 700_000, None, None]
    assert 0 < rows[0]["tensor_active"] < rows[0]["dram_active"] < 1
    assert (rows[3]["tensor_active"], rows[3]["dram_active"]) == (0, 0)
    assert "later than modelled" in server.end()
    server.meter.read()
    assert [reading.power_mw / 1000 for reading in server.meter.read()] == [70] * 4


def test_a_killed_engine_leaves_its_gpu_to_the_meter(serve):
    server = serve().wait_ready()
    server.process.send_signal(signal.SIGKILL)
    server.process.wait(20)
    counts = [server.meter.read()[0].energy_uj for _ in range(5)]
    assert counts == sorted(counts)
    assert server.meter.boards[0].gpu.read().pid == 0


def ask_again_and_again(server):
    for _ in range(3):
        server.ask(ASK)


def test_faults_that_are_asked_for(serve):
    dying = serve(die_after=2).wait_ready()
    assert dying.ask(ASK)[0] == 200
    with pytest.raises((OSError, http.client.HTTPException)):
        ask_again_and_again(dying)
    assert dying.process.wait(20) == -signal.SIGKILL
    failing = serve(fail_start="CUDA out of memory")
    assert failing.process.wait(20) == 1
    assert "simulated fault: CUDA out of memory" in failing.process.stdout.read()
    slow = serve(slow=5).wait_ready()
    begun = time.monotonic()
    slow.ask(ASK)
    request_s = closed_loop(machine(slow), 8, 1, itertools.repeat((200, 20))).request_s
    assert time.monotonic() - begun >= 5 * request_s


def test_faults_are_drawn_on_a_share_of_the_starts(serve):
    drawn = serve(fault_share=1)
    assert "simulated fault drawn: " in drawn.process.stdout.readline()
