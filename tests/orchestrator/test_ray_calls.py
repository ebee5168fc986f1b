"""Calls that outlast a cut network, and an agent's side of them; Ray itself is replaced by plain calls."""

import threading
from types import SimpleNamespace

import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, GetTimeoutError, RaySystemError, RayTaskError

from joulemark.agents.orders import AgentConfig, AgentProgress
from joulemark.orchestrator import ray_calls
from joulemark.orchestrator.ray_agents import _AgentActor, holder_of
from joulemark.orchestrator.ray_calls import Calls
from joulemark.warehouse.errors import ClusterError, DiskFull, NodeLost

UNAVAILABLE = ActorUnavailableError("the network", None)
SOON_S = 10


class Method:
    """A method of an actor: each call gives, or raises, the next of ``answers``; the last one for ever."""

    def __init__(self, *answers):
        self.answers, self.calls = list(answers), 0

    def remote(self, *arguments):
        self.calls += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    def get(answer, timeout):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(ray_calls.ray, "get", get)
    monkeypatch.setattr(ray_calls, "AGAIN_S", 0.01)


def test_a_call_is_made_again_until_it_is_answered():
    method = Method(UNAVAILABLE, GetTimeoutError("slow"), UNAVAILABLE, 5)
    assert Calls("the agent on n", 10.0).patient(method) == 5
    assert method.calls == 4


def test_the_name_of_a_dead_agent_is_given_free_and_that_of_a_living_one_is_not(monkeypatch):
    actors, killed = {}, []

    def get_actor(name):
        if name not in actors:
            raise ValueError(name)
        return actors[name]

    monkeypatch.setattr(ray_calls.ray, "get_actor", get_actor)
    monkeypatch.setattr(ray_calls.ray, "kill", killed.append)
    assert holder_of("n") is None
    for answer, who in (("sweep other", "sweep other"), (UNAVAILABLE, None), (GetTimeoutError("slow"), None)):
        actors["agent-n"] = SimpleNamespace(holder=Method(answer))
        assert holder_of("n") == who
    assert killed == []
    dead = actors["agent-n"] = SimpleNamespace(holder=Method(ActorDiedError()))
    assert holder_of("n") is None
    assert killed == [dead]


def test_without_any_answer_it_is_lost():
    method = Method(UNAVAILABLE)
    with pytest.raises(NodeLost, match="the agent on n was lost: no answer for 0 s"):
        Calls("the agent on n", 0.1).patient(method)
    assert method.calls > 2


@pytest.mark.parametrize("error", [ActorDiedError(), RaySystemError("the raylet is gone")], ids=["actor", "raylet"])
def test_what_is_dead_is_not_asked_again(error):
    method = Method(error)
    with pytest.raises(NodeLost, match=r"the agent on n was lost: \S"):
        Calls("the agent on n", 10.0).patient(method)
    assert method.calls == 1


def test_what_the_actor_raises_is_no_loss():
    method = Method(RayTaskError("f", "Traceback", DiskFull("no space left"), proctitle="p", pid=1, ip="1.2.3.4"))
    with pytest.raises(DiskFull, match="no space left"):
        Calls("the agent on n", 10.0).patient(method)
    assert method.calls == 1


def test_a_loss_that_was_noticed_elsewhere_ends_the_trying():
    noticed = NodeLost("noticed elsewhere")
    with pytest.raises(NodeLost, match="noticed elsewhere"):
        Calls("the agent on n", 1000.0).patient(Method(UNAVAILABLE), give_up=lambda: noticed)


def test_who_is_closed_tries_no_more():
    closed = threading.Event()
    closed.set()
    with pytest.raises(NodeLost):
        Calls("the agent on n", 1000.0).patient(Method(UNAVAILABLE), closed=closed)


@pytest.fixture
def actor():
    made = _AgentActor(AgentConfig("n", "w"), "sweep s (process 1 on h)")
    renewed = []
    made._agent = SimpleNamespace(
        renew=lambda: renewed.append(1),
        progress=lambda: AgentProgress("measuring"),
        upload=lambda sealed: ("uploaded", sealed),
        close=lambda: pytest.fail("no driver may order that"),
    )
    made.renewed = renewed
    return made


def test_an_order_its_look_and_its_answer(actor):
    actor.begin("node", 1, "upload", (("a",),))
    actor.begin("node", 1, "upload", (("a",),))
    look = actor.look({"node": 1}, {}, SOON_S)
    assert (look.over, look.progress.doing) == ({"node": 1}, "measuring")
    assert actor.answer("node", 1) == ("uploaded", ("a",))
    assert actor.renewed == [1], "to look is to renew the lease"
    assert actor.holder() == "sweep s (process 1 on h)"


@pytest.mark.parametrize("what", ["close", "_open", "config", "no such thing"])
def test_only_orders_are_obeyed(actor, what):
    with pytest.raises(ClusterError, match="cannot"):
        actor.begin("node", 1, what, ())


def test_an_agent_that_is_not_open_yet_says_that_it_waits(actor):
    actor._agent = None
    assert actor.look({}, {}, 0).progress.doing == "waiting for its turn"
    with pytest.raises(ClusterError):
        actor.begin("node", 1, "upload", ())
