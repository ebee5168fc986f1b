"""Events of agents and drivers: one JSON object a line, without secrets, in the warehouse once they are over."""

import json
import logging
from datetime import UTC, datetime

import pytest

from joulemark.agents.agent import NodeAgent
from joulemark.agents.event_log import FIELDS, EventLog
from joulemark.agents.lane import Lane
from joulemark.agents.orders import AgentConfig, StartOrder
from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel

ALWAYS = {"time", "level", "event", *FIELDS}


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_says_the_same_things(tmp_path):
    events = EventLog(tmp_path / "new", "agent-n", sweep="s", node="n")
    events.say("trial_began", trial="t", cell="c")
    events.say("100% of it failed", logging.WARNING, error='two\nlines and a "quote"')
    events.close()
    first, second = lines(events.path.read_text())
    assert first.keys() == ALWAYS
    assert second.keys() == ALWAYS | {"error"}
    assert {k: first[k] for k in ("level", "event", *FIELDS)} == {
        "level": "info",
        "event": "trial_began",
        "sweep": "s",
        "cell": "c",
        "trial": "t",
        "node": "n",
    }
    assert (second["level"], second["event"], second["trial"]) == ("warning", "100% of it failed", None)
    assert second["error"] == 'two\nlines and a "quote"'
    assert abs((datetime.fromisoformat(first["time"]) - datetime.now(UTC)).total_seconds()) < 60


def test_two_logs_of_one_process_stay_apart(tmp_path, capfd):
    one, other = EventLog(tmp_path, "one"), EventLog(tmp_path, "other")
    one.say("mine")
    other.say("yours")
    for log in (one, other):
        log.close()
        log.say("too late", logging.ERROR)
    assert [line["event"] for line in lines(one.path.read_text())] == ["mine"]
    assert [line["event"] for line in lines(other.path.read_text())] == ["yours"]
    assert capfd.readouterr().err == ""


@pytest.fixture
def agent(monkeypatch, tmp_path):
    monkeypatch.setenv("JOULEMARK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("HF_TOKEN", "secretsecret")

    def prepare(self, deployment):
        raise BadInput("the hub does not take secretsecret")

    monkeypatch.setattr(Lane, "_prepare", prepare)
    made = NodeAgent(AgentConfig("n1", str(tmp_path / "warehouse"), sweep="s"))
    yield made
    made.close()


def test_an_agent_leaves_its_events_where_its_records_are(agent):
    agent.describe()
    deployment = Deployment(ModelRef("m", "path", "/m"), "f16", "f16", EngineRef("llamacpp", "1"), "cpu", Parallel())
    assert agent.start_engine(StartOrder(deployment, 1, 128)).failure_class == "unsupported"
    agent.finish()
    (sealed,) = (s.name for s in agent.pending() if s.name.startswith("logs/agent-n1-"))
    text = agent.warehouse.read(sealed).decode()
    assert "secretsecret" not in text
    said = lines(text)
    assert [line["event"] for line in said] == ["agent_opened", "engine_failed", "agent_finished"]
    assert {(line["sweep"], line["node"]) for line in said} == {("s", "n1")}
    assert (said[1]["level"], said[1]["failure_class"]) == ("warning", "unsupported")
    assert said[1]["error"].startswith("the hub does not take ")
    assert not list(agent.folder.glob("logs/*"))


def test_what_a_killed_agent_left_comes_with_the_next(agent, tmp_path):
    agent.finish()
    (agent.folder / "logs" / "agent-n1-before.jsonl").write_text('{"event": "agent_opened"}\n')
    agent.close()
    second = NodeAgent(AgentConfig("n1", str(tmp_path / "warehouse"), sweep="s"))
    try:
        assert "logs/agent-n1-before.jsonl" in [s.name for s in second.pending()]
    finally:
        second.close()
