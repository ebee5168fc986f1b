"""Attempts, retries by failure class, and a manifest for every attempt, without Ray or an engine."""

import threading
from concurrent.futures import Future

import pytest

from joulemark.agents.orders import NodeFacts, StartResult, TrialResult
from joulemark.orchestrator.manifests import SweepFacts
from joulemark.orchestrator.node_runner import OF_THE_CELL, NodeRunner
from joulemark.orchestrator.plan import groups
from joulemark.orchestrator.progress import Progress
from joulemark.orchestrator.retries import ATTEMPTS, WORTH_A_RETRY, again
from joulemark.orchestrator.verdicts import known
from joulemark.warehouse.errors import DiskFull, MeterError, NodeLost
from joulemark.warehouse.schema.reasons import FAILURE_CLASSES, REASONS
from joulemark.warehouse.schema.trial import EngineRecord, Interval, NodePart
from joulemark.workloads.cell import Cell, Deployment, EngineRef, Length, ModelRef, Parallel, WindowPolicy, Workload
from joulemark.workloads.traffic.tables import Tables, digest_of

HOPELESS = {name for name, (_, retry) in FAILURE_CLASSES.items() if not retry}
NODE = NodeFacts("n", "boot", 5, "cpu", 2, 1, (), (), None, {}, {"joulemark": "0"})


def cells(*concurrencies):
    deployment = Deployment(
        ModelRef("m", "path", "/m.gguf"), "f16", "f16", EngineRef("llamacpp", "1"), "cpu", Parallel()
    )
    return [Cell(deployment, Workload(10, 5, c), WindowPolicy(1.0, 2.0)) for c in concurrencies]


class FakeAgent:
    """Answers as scripted: each start and each trial takes the next word of its list, the last one for ever."""

    def __init__(self, starts=("ok",), trials=("ok",)):
        self.starts, self.trials = list(starts), list(trials)
        self.calls, self.running = [], False

    def _next(self, words):
        return words.pop(0) if len(words) > 1 else words[0]

    def start_engine(self, order):
        self.calls.append("start")
        word = self._next(self.starts)
        if word != "ok":
            return StartResult(
                None, ("cpu",), 7, 9, failure_class=word, error=f"it was {word}", engine_log=("loading", "no")
            )
        self.running = True
        return StartResult(EngineRecord("llamacpp", "1", "s", (), {}, {}, 0.1, "logs/s.log"), ("cpu",), 7, 9)

    def run_trial(self, order):
        assert self.running, "a trial was run without an engine"
        self.calls.append(order.trial)
        word = self._next(self.trials)
        part = NodePart("n", "boot", ("cpu",), "cpu", Interval(1, 2))
        if word == "ok":
            return TrialResult("done", (), part, 1, 2)
        return TrialResult("failed", (), part, 1, 2, failure_class=word, error=f"it was {word}")

    def stop_engine(self, lane):
        self.running = False
        self.calls.append("stop")


def run(agent, verdicts=((),), concurrencies=(1, 2), repeats=1, stopping=None, attempts=None, taken=()):
    manifests, told, said = [], [], list(verdicts)

    def commit(manifest):
        manifests.append(manifest)
        if manifest.outcome == "failed":
            return known(())
        return known(said.pop(0) if len(said) > 1 else said[0])

    wanted = groups(cells(*concurrencies), repeats, 1, ())
    progress = Progress("sweep", wanted=len(concurrencies) * repeats, had=0)
    facts = SweepFacts("sweep", repeats, 1, {"m": None})
    stopping = stopping or threading.Event()
    runner = NodeRunner(
        agent,
        NODE,
        facts,
        commit,
        {} if attempts is None else attempts,
        progress,
        told.append,
        stopping,
        lambda trial: any(trial.endswith(t) for t in taken),
    )
    for group in wanted:
        runner.run(group, ())
    return manifests, progress.snapshot(), told


def test_one_start_serves_all_trials_and_the_engine_is_down_at_the_end():
    agent = FakeAgent()
    manifests, now, _ = run(agent, repeats=2)
    assert agent.calls.count("start") == 1
    assert not agent.running
    assert [m.outcome for m in manifests] == ["done"] * 4
    assert (now.valid, now.failed, now.invalid) == (4, 0, 0)
    assert len({m.trial for m in manifests}) == 4
    assert [m.trial for m in manifests] == [c for c in agent.calls if c not in ("start", "stop")]


def test_the_files_of_a_workload_go_with_its_trials_and_no_others():
    sent = []

    class Keeper(FakeAgent):
        def run_trial(self, order):
            sent.append(order)
            return super().run_trial(order)

    files = {digest_of(data): data for data in (b"n\n5\n", b"other")}
    own = Workload(Length("table", 1, 5, table=digest_of(b"n\n5\n"), column="n"), 5, 1)
    deployment = cells(1)[0].deployment
    wanted = groups([Cell(deployment, w, WindowPolicy(1.0, 2.0)) for w in (own, Workload(10, 5, 1))], 1, 1, ())
    facts = SweepFacts("sweep", 1, 1, {"m": None}, Tables(files))
    progress = Progress("sweep", wanted=2, had=0)
    NodeRunner(Keeper(), NODE, facts, lambda _: known(()), {}, progress, [].append, threading.Event()).run(
        wanted[0], ()
    )
    assert [dict(order.tables.files) for order in sent] == [{digest_of(b"n\n5\n"): b"n\n5\n"}, {}]


def test_a_dead_engine_is_started_again_and_both_attempts_have_manifests():
    agent = FakeAgent(trials=["engine_died", "ok"])
    manifests, now, told = run(agent)
    assert [(m.outcome, m.failure_class, m.attempt) for m in manifests] == [
        ("failed", "engine_died", 0),
        ("done", None, 1),
        ("done", None, 0),
    ]
    assert agent.calls.count("start") == 2
    assert (now.valid, now.failed) == (2, 1)
    assert "it was engine_died" in told[0]


def test_attempts_are_bounded():
    manifests, now, _ = run(FakeAgent(trials=["engine_died"]), concurrencies=(1,))
    assert len(manifests) == ATTEMPTS
    assert now.valid == 0


@pytest.mark.parametrize("failure", sorted(HOPELESS - {"interrupted"}))
def test_what_cannot_work_is_not_tried_again_and_every_trial_of_it_says_why(failure):
    agent = FakeAgent(starts=[failure])
    manifests, now, told = run(agent, concurrencies=(1, 2, 4))
    assert agent.calls.count("start") == 1
    assert [(m.outcome, m.failure_class) for m in manifests] == [("failed", failure)] * 3
    assert len({m.cell for m in manifests}) == 3
    assert "(3 trials)" in told[0]
    assert {(m.started_us, m.ended_us, m.nodes[0].devices) for m in manifests} == {(7, 9, ("cpu",))}
    assert now.failed == 3


@pytest.mark.parametrize("failure", sorted(OF_THE_CELL))
def test_a_cell_that_breaks_the_engine_is_tried_once_and_the_others_run(failure):
    agent = FakeAgent(trials=[failure, "ok"])
    manifests, now, _ = run(agent, repeats=3)
    first, rest = manifests[0].cell, [m for m in manifests if m.cell != manifests[0].cell]
    assert [m.outcome for m in rest] == ["done"] * 3
    broken = [m for m in manifests if m.cell == first]
    assert [(m.outcome, m.failure_class, m.attempt, m.repeat) for m in broken] == [
        ("failed", failure, 0, repeat) for repeat in range(3)
    ]
    assert broken[1].error == f"not tried again: it was {failure}"
    assert broken[1].nodes[0].window is None
    assert agent.calls.count("start") == 2, "once for the one that broke it, once for all the others"
    assert len({m.trial for m in manifests}) == 6
    assert (now.valid, now.failed) == (3, 3)


def test_a_start_that_is_interrupted_leaves_no_record_and_ends_the_run():
    agent = FakeAgent(starts=["interrupted"])
    manifests, _, _ = run(agent, concurrencies=(1, 2))
    assert manifests == []
    assert agent.calls.count("start") == 1


def test_an_engine_that_is_slow_once_gets_another_start():
    manifests, now, _ = run(FakeAgent(starts=["not_ready", "ok"]))
    assert [m.failure_class for m in manifests] == ["not_ready", None, None]
    assert now.valid == 2


def test_invalid_power_is_tried_again_and_a_wrong_configuration_is_not():
    _, now, told = run(FakeAgent(), verdicts=[("sample_gap",), ()], concurrencies=(1,))
    assert (now.valid, now.invalid) == (1, 1)
    assert f"sample_gap ({REASONS['sample_gap']})" in told[0]
    _, now, _ = run(FakeAgent(), verdicts=[("config_mismatch",)], concurrencies=(1,))
    assert (now.valid, now.invalid) == (0, 1)
    assert not again(None, ("sample_gap", "config_mismatch"), 1)


def test_a_verdict_that_takes_its_time_holds_up_nothing_but_the_end():
    agent, asked = FakeAgent(), []

    def commit(manifest):
        asked.append((manifest, Future()))
        if len(asked) == 2:
            # The second trial has run before anything was said of the first.
            asked[0][1].set_result(("sample_gap",))
        if len(asked) == 3:
            asked[1][1].set_result(())
            asked[2][1].set_result(())
        return asked[-1][1]

    (group,) = groups(cells(1, 2), 1, 1, ())
    progress = Progress("sweep", wanted=2, had=0)
    facts = SweepFacts("sweep", 1, 1, {"m": None})
    runner = NodeRunner(agent, NODE, facts, commit, {}, progress, [].append, threading.Event())
    runner.run(group, ())
    first, second = (t.cell.cell_id for t in group.trials)
    assert [(m.cell, m.attempt) for m, _ in asked] == [(first, 0), (second, 0), (first, 1)]
    assert agent.calls.count("start") == 1, "it is tried again after the others, on the same engine"
    assert (progress.valid, progress.invalid) == (2, 1)
    assert runner.settled == {t.key for t in group.trials}


def test_what_was_measured_before_an_error_is_left_to_no_other_node():
    agent, asked = FakeAgent(), []

    def commit(manifest):
        asked.append((manifest, Future()))
        return asked[-1][1]

    def run_trial(order):
        if asked:
            # By then nothing was said of the first trial.
            threading.Timer(0.05, asked[0][1].set_result, ((),)).start()
            raise MeterError("no meter can be read any more")
        return FakeAgent.run_trial(agent, order)

    agent.run_trial = run_trial
    (group,) = groups(cells(1, 2), 1, 1, ())
    facts, progress = SweepFacts("sweep", 1, 1, {"m": None}), Progress("sweep", wanted=2, had=0)
    runner = NodeRunner(agent, NODE, facts, commit, {}, progress, [].append, threading.Event())
    with pytest.raises(MeterError):
        runner.run(group, ())
    assert runner.settled == {group.trials[0].key}
    assert not agent.running


def test_a_verdict_that_cannot_be_had_ends_the_node():
    def commit(_):
        verdict = Future()
        verdict.set_exception(DiskFull("no space left"))
        return verdict

    agent = FakeAgent()
    (group,) = groups(cells(1), 1, 1, ())
    facts, progress = SweepFacts("sweep", 1, 1, {"m": None}), Progress("sweep", wanted=1, had=0)
    runner = NodeRunner(agent, NODE, facts, commit, {}, progress, [].append, threading.Event())
    with pytest.raises(DiskFull):
        runner.run(group, ())
    assert not agent.running


def test_attempt_numbers_go_on_where_an_earlier_run_stopped():
    key = (cells(1)[0].cell_id, 0, 0), "n"
    manifests, _, _ = run(FakeAgent(), concurrencies=(1,), attempts={key: 4})
    assert [m.attempt for m in manifests] == [4]
    assert manifests[0].trial.endswith("s0r0a4")


def test_names_that_somebody_else_has_taken_are_passed_over():
    manifests, _, _ = run(FakeAgent(), concurrencies=(1,), taken=("s0r0a0", "s0r0a1"))
    assert [m.trial[-6:] for m in manifests] == ["s0r0a2"]
    manifests, _, _ = run(FakeAgent(starts=["unsupported"]), concurrencies=(1,), taken=("s0r0a0",))
    assert [m.attempt for m in manifests] == [1]


@pytest.mark.parametrize("failure", ["unsupported", "port_taken"])
def test_the_last_lines_of_an_engine_that_did_not_start_are_shown_below_its_error(failure):
    _, _, told = run(FakeAgent(starts=[failure, "ok"]), concurrencies=(1,))
    at = next(n for n, line in enumerate(told) if line.endswith(f"it was {failure}"))
    assert told[at + 1 : at + 3] == ["    | loading", "    | no"]


def test_an_order_to_stop_while_the_engine_starts_begins_no_trial():
    stopping = threading.Event()
    agent = FakeAgent()
    real = agent.start_engine

    def start_engine(order):
        stopping.set()
        return real(order)

    agent.start_engine = start_engine
    manifests, _, _ = run(agent, stopping=stopping)
    assert manifests == []
    assert agent.calls == ["start", "stop"]


def test_stopping_finishes_the_running_trial_and_starts_no_more():
    stopping = threading.Event()
    agent = FakeAgent()
    real = agent.run_trial

    def run_trial(order):
        stopping.set()
        return real(order)

    agent.run_trial = run_trial
    manifests, _, _ = run(agent, repeats=3, stopping=stopping)
    assert len(manifests) == 1
    assert not agent.running


def test_the_engine_is_stopped_when_the_agent_is_lost():
    agent = FakeAgent()

    def lost(order):
        raise RuntimeError("lost")

    agent.run_trial = lost
    with pytest.raises(RuntimeError):
        run(agent)
    assert agent.calls[-1] == "stop"


def lost_runner(agent, losses=None, concurrencies=(1, 2)):
    manifests, told = [], []
    runner = NodeRunner(
        agent,
        NODE,
        SweepFacts("sweep", 1, 1, {"m": None}),
        lambda m: known(manifests.append(m) or ()),
        {},
        Progress("sweep", wanted=len(concurrencies), had=0),
        told.append,
        threading.Event(),
        losses={} if losses is None else losses,
    )
    (group,) = groups(cells(*concurrencies), 1, 1, ())
    with pytest.raises(NodeLost):
        runner.run(group, ())
    return runner, group, manifests, told


def test_a_trial_whose_node_is_lost_says_so_and_is_left_to_another_node():
    agent = FakeAgent()
    real = agent.run_trial

    def second_is_lost(order):
        if len([c for c in agent.calls if c not in ("start", "stop")]) == 1:
            raise NodeLost("n is gone")
        return real(order)

    agent.run_trial = second_is_lost
    runner, group, manifests, _ = lost_runner(agent)
    assert [(m.outcome, m.failure_class) for m in manifests] == [("done", None), ("failed", "node_lost")]
    assert manifests[1].error == "n is gone"
    assert manifests[1].traces == ()
    assert manifests[1].started_us <= manifests[1].ended_us
    assert runner.settled == {group.trials[0].key}
    assert "stop" not in agent.calls, "there is nobody to tell"


def test_a_node_that_is_lost_while_the_engine_starts_counts_against_the_first_trial():
    agent = FakeAgent()

    def lost(order):
        raise NodeLost("n is gone")

    agent.start_engine = lost
    losses = {}
    runner, group, manifests, _ = lost_runner(agent, losses)
    assert [m.cell for m in manifests] == [group.trials[0].cell.cell_id]
    assert losses == {group.trials[0].key: 1}
    assert runner.settled == set()


def test_a_trial_that_loses_one_node_after_the_other_is_not_tried_for_ever():
    agent, losses = FakeAgent(), {}

    def lost(order):
        raise NodeLost("n is gone")

    agent.run_trial = lost
    ends = [lost_runner(agent, losses, (1,)) for _ in range(ATTEMPTS)]
    assert [len(runner.settled) for runner, *_ in ends] == [0] * (ATTEMPTS - 1) + [1]
    assert f"lost {ATTEMPTS} times" in ends[-1][3][-1]


def test_reasons_worth_a_retry_are_known_reasons():
    assert set(REASONS) >= WORTH_A_RETRY
