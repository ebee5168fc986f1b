"""What a running sweep exports: the table, and readings that are left out where nothing is known."""

import re
from types import SimpleNamespace

import pytest
import ray

from joulemark.agents.orders import AgentConfig, AgentProgress
from joulemark.orchestrator import metrics
from joulemark.orchestrator.metrics import METRICS, Metric, of_agent, of_sweep, of_trial
from joulemark.orchestrator.progress import NodeLine, Progress
from joulemark.orchestrator.ray_agents import _AgentActor
from joulemark.orchestrator.ray_metrics import Exporter

UNITS = {"W": "watts", "J": "joules", "s": "seconds", "tokens/s": "tokens_per_second", "1": "doing"}
"""How a name says its unit; others say it as it is."""


def readings(found):
    return {(r.metric.name.removeprefix("joulemark_"), *r.tags): r.value for r in found}


def progress(**counts):
    made = Progress("s", 8, 2, **counts)
    made.line(NodeLine("a", "window, 3 s left", "t", 5.0, 7.0))
    made.line(NodeLine("a #2", "idle"))
    made.line(NodeLine("b", "idle"))
    return made


def test_the_table_is_whole_and_names_say_their_units():
    assert set(METRICS) == {m for m in vars(metrics).values() if isinstance(m, Metric)}
    assert len({m.name for m in METRICS}) == len(METRICS)
    for metric in METRICS:
        assert re.fullmatch(r"joulemark_[a-z_]+", metric.name)
        unit = "failures_total" if metric.kind == "counter" else UNITS.get(metric.unit, metric.unit)
        assert metric.name.endswith(unit), metric.name
        assert metric.name.endswith("_total") == (metric.kind == "counter")


def test_a_sweep_shows_its_counts():
    found = readings(of_sweep(progress(valid=3, failed=1).snapshot()))
    assert found == {
        ("sweep_planned_trials", "s"): 8,
        ("sweep_valid_trials", "s"): 5,
        ("sweep_attempts", "s", "valid"): 3,
        ("sweep_attempts", "s", "invalid"): 0,
        ("sweep_attempts", "s", "failed"): 1,
        ("sweep_nodes", "s", "working"): 1,
        ("sweep_nodes", "s", "idle"): 1,
        ("sweep_nodes", "s", "lost"): 0,
    }


def test_the_time_left_is_shown_where_there_is_a_forecast():
    made = progress()
    made.outlook = SimpleNamespace(left_s=lambda: 90.0)
    assert readings(of_sweep(made.snapshot()))["sweep_left_seconds", "s"] == 90.0
    made.state = "ended"
    assert ("sweep_left_seconds", "s") not in readings(of_sweep(made.snapshot()))


def test_a_lost_node_is_lost_whatever_its_lanes_said_last():
    made = progress()
    made.line(NodeLine("a #2", "window, 1 s left"))
    made.line(NodeLine("a", "lost; trying again", lost=True))
    found = readings(of_sweep(made.snapshot()))
    assert [found["sweep_nodes", "s", state] for state in ("working", "idle", "lost")] == [0, 1, 1]


def test_an_agent_shows_what_it_knows():
    lanes = (AgentProgress("window, 3 s left", 40.0), AgentProgress("starting vllm"))
    found = readings(of_agent("s", "a", AgentProgress("window", 40.0, 200.0, lanes, sampler_restarts=1)))
    assert found == {
        ("node_power_watts", "s", "a"): 200.0,
        ("node_output_tokens_per_second", "s", "a", "1"): 40.0,
        ("node_output_token_joules", "s", "a"): 5.0,
        ("node_sampler_restarts", "s", "a"): 1,
        ("node_doing", "s", "a", "1", "window"): 1,
        ("node_doing", "s", "a", "2", "starting vllm"): 1,
    }


@pytest.mark.parametrize("said", [AgentProgress("idle"), AgentProgress("window", 0.0), AgentProgress("window", 4.0)])
def test_what_is_not_known_is_no_reading(said):
    names = {key[0] for key in readings(of_agent("s", "a", said))}
    assert names <= {"node_doing", "node_output_tokens_per_second"}
    assert ("node_output_tokens_per_second" in names) == (said.tokens_per_s is not None)


def test_no_joules_per_token_without_tokens():
    names = {key[0] for key in readings(of_agent("s", "a", AgentProgress("window", 0.0, 200.0)))}
    assert "node_power_watts" in names
    assert "node_output_token_joules" not in names


def test_a_failure_counts_by_its_class():
    failed = SimpleNamespace(sweep="s", failure_class="out_of_memory")
    assert readings(of_trial(failed)) == {("sweep_failures_total", "s", "out_of_memory"): 1}
    assert list(of_trial(SimpleNamespace(sweep="s", failure_class=None))) == []


def test_without_ray_nothing_happens():
    assert not ray.is_initialized()
    exporter = Exporter()
    exporter.export(of_sweep(progress().snapshot()))
    assert exporter._series == {}


def test_readings_are_made_now_and_then_only():
    asked = []
    exporter = Exporter(every_s=3600.0)
    for _ in range(3):
        exporter.sometimes(lambda: asked.append(1) or ())
    assert asked == [1]


def test_whoever_looks_at_an_agent_has_it_export(monkeypatch):
    actor = _AgentActor(AgentConfig("n", "w", sweep="s"), "sweep s (process 1 on h)")
    exported = []
    monkeypatch.setattr(actor._exporter, "export", exported.extend)
    actor._agent = SimpleNamespace(renew=lambda: None, progress=lambda: AgentProgress("measuring", watts=9.0))
    actor.look({}, {}, 0)
    assert readings(exported)["node_power_watts", "s", "n"] == 9.0
