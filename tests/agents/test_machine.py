"""One measurement at a time on a machine: processes, other users, waiting, and what a kill leaves."""

from __future__ import annotations

import getpass
import os
import subprocess
import sys
import threading
import time

import pytest

from joulemark.agents import machine
from joulemark.agents.agent import NodeAgent
from joulemark.agents.lane import Lane
from joulemark.agents.machine import VARIABLE, Machine
from joulemark.agents.orders import AgentConfig, StartOrder
from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel

HOLD = """
import os, sys, time
from joulemark.agents.machine import Machine
if sys.argv[1]:
    os.setuid(int(sys.argv[1]))
machine = Machine()
machine.claim(print)
print("held", flush=True)
time.sleep(600)
"""
NOBODY = 65534


class WaitedError(Exception):
    """A claim had to wait."""


def refuse(what):
    raise WaitedError(what)


@pytest.fixture
def holder(monkeypatch, request):
    """Another process that holds the machine, of another user where asked."""
    monkeypatch.setenv(VARIABLE, f"{os.getpid()}-{request.node.name}")
    user = getattr(request, "param", "")
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(user)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.wait()


def test_another_process_is_named_and_waited_for(holder, monkeypatch):
    with pytest.raises(
        WaitedError, match=rf"joulemark of {getpass.getuser()} \(process {holder.pid}\), which measures"
    ):
        Machine().claim(refuse)
    waits = []

    def end_it(what):
        waits.append(what)
        holder.kill()
        holder.wait()

    mine = Machine()
    mine.claim(end_it)
    assert len(waits) == 1, "a killed holder gave up the machine at once"
    mine.release()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize("holder", [NOBODY], indirect=True)
def test_another_user_is_waited_for(holder):
    with pytest.raises(WaitedError, match=r"joulemark of nobody \(process"):
        Machine().claim(refuse)


def test_a_released_machine_can_be_claimed_again(monkeypatch):
    monkeypatch.setenv(VARIABLE, f"{os.getpid()}-again")
    mine, other = Machine(), Machine()
    for holder, waiting in ((mine, other), (other, mine)):
        holder.claim(refuse)
        holder.claim(refuse)
        with pytest.raises(WaitedError):
            waiting.claim(refuse)
        holder.release()
        holder.release()
    assert mine.holder() == "another joulemark", "nobody holds it"


def test_other_machines_are_others(monkeypatch):
    monkeypatch.setattr(machine, "NAME", f"joulemark-test-{os.getpid()}")
    one, two = Machine("a"), Machine("b")
    one.claim(refuse)
    two.claim(refuse)
    one.release()
    two.release()


def deployment(engine):
    return Deployment(ModelRef("m", "path", "/m"), "f16", "f16", EngineRef(engine, "1"), "cpu", Parallel())


@pytest.fixture
def agent(monkeypatch, tmp_path, request):
    """An agent whose preparation of an engine fails, and says whether the machine was held meanwhile."""
    monkeypatch.setenv(VARIABLE, f"{os.getpid()}-{request.node.name[:40]}")
    monkeypatch.setenv("JOULEMARK_HOME", str(tmp_path / "home"))

    def prepare(self, deployment):
        raise BadInput("held" if self.things.machine.held else "not held")

    monkeypatch.setattr(Lane, "_prepare", prepare)
    agent = NodeAgent(AgentConfig("n1", str(tmp_path / "warehouse")))
    yield agent
    agent.close()


def test_an_agent_says_for_whom_it_waits_and_holds_the_machine_only_for_its_engine(agent):
    other, results = Machine(), []
    other.claim(refuse)
    try:
        order = StartOrder(deployment("llamacpp"), 1, 128)
        start = threading.Thread(target=lambda: results.append(agent.start_engine(order)))
        start.start()
        deadline = time.monotonic() + 30
        while "waiting for joulemark of" not in agent.progress().doing and time.monotonic() < deadline:
            time.sleep(0.01)
        assert f"(process {os.getpid()}), which measures on this machine" in agent.progress().doing
        assert results == []
        other.release()
        start.join(30)
        assert [r.error for r in results] == ["held"]
        other.claim(refuse)
    finally:
        other.release()


def test_an_agent_that_waits_can_be_stopped(agent):
    other = Machine()
    other.claim(refuse)
    try:
        threading.Timer(0.5, agent.interrupt).start()
        assert agent.start_engine(StartOrder(deployment("llamacpp"), 1, 128)).failure_class == "interrupted"
    finally:
        other.release()


def test_a_simulated_engine_waits_for_nobody(agent):
    other = Machine()
    other.claim(refuse)
    try:
        assert agent.start_engine(StartOrder(deployment("simulated"), 1, 128)).error == "not held"
    finally:
        other.release()
