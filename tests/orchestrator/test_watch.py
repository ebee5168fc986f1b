"""Watching a sweep: what is shown, how often the warehouse is asked, and when it ends."""

import sys
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from msgspec.structs import replace

sys.path.insert(0, str(Path(__file__).parents[1] / "warehouse"))
from synthetic import Meter, Spec, add_trial

from joulemark.orchestrator import watch as watching
from joulemark.orchestrator.cli import cli
from joulemark.orchestrator.progress import NodeLine, Snapshot, save
from joulemark.orchestrator.so_far import EnergySoFar, SoFar, so_far
from joulemark.orchestrator.watch import Watch, head, shown
from joulemark.warehouse.errors import BadInput, QueryError
from joulemark.warehouse.store.location import Warehouse

NODES = [NodeLine("a", "window, 3 s left", "tiny", 100.0, 40.5), NodeLine("b", "starting", None, None, 20.0)]


def snapshot(state="running", valid=0, **more):
    left_s = 600.0 if state == "running" else None
    values = {"had": 1, "invalid": 0, "failed": 0, "left_s": left_s, "nodes": NODES, "wanted": 4} | more
    return Snapshot(sweep="made-up", state=state, host="h", pid=1, updated_s=time.time(), valid=valid, **values)


def watched(snapshots, answers):
    """Watch these states; return what was shown of each, and how often the warehouse was asked."""
    states, given, asked = iter(snapshots), iter(answers), []

    def ask():
        asked.append(1)
        answer = next(given)
        if isinstance(answer, Exception):
            raise answer
        return answer

    lines = ["\n".join(lines) for _, lines in Watch(lambda: next(states), ask, 0.0, lambda _: None)]
    return lines, len(asked)


def known(figure, fidelity="counter", failures=()):
    return SoFar((EnergySoFar("gpu", fidelity, 2, figure),), tuple(failures))


def test_it_goes_on_until_the_sweep_has_ended():
    lines, _ = watched([snapshot(), snapshot(), snapshot("ended", 3)], [known(0.25)] * 3)
    assert len(lines) == 3
    assert "made-up: running, trial 2 of 4, about 10 min left, ends" in lines[0]
    assert "now: 100 tokens/s, 60.5 W on 2 node(s)" in lines[0]
    assert "a: tiny: window, 3 s left; 100 tokens/s, 40.5 W" in lines[0]
    assert "made-up: ended, 4 of 4 trials" in lines[-1]
    assert "window" not in lines[-1]


def test_the_warehouse_is_asked_only_after_a_trial_and_not_too_often(monkeypatch):
    states = [snapshot(), snapshot(), snapshot(valid=1), snapshot(valid=2), snapshot("ended", 3)]
    lines, times = watched(states, [known(0.1), known(0.2)])
    assert times == 2
    assert ["0.1 J/token" in text for text in lines] == [True] * 4 + [False]
    assert "0.2 J/token" in lines[-1]
    monkeypatch.setattr(watching, "ASK_EVERY_S", 0.0)
    _, times = watched(states, [known(0.1)] * 9)
    assert times == 4


def test_records_that_cannot_be_read_now_are_said_and_asked_for_again(monkeypatch):
    monkeypatch.setattr(watching, "ASK_EVERY_S", 0.0)
    lines, times = watched([snapshot(), snapshot(), snapshot("ended")], [known(0.1), QueryError("moved"), known(0.3)])
    assert (times, "note:" in lines[1]) == (1, False)
    states = [snapshot(), snapshot(valid=1), snapshot("ended", 1)]
    lines, times = watched(states, [known(0.1), QueryError("moved"), known(0.3)])
    assert times == 3
    assert "0.1 J/token" in lines[1]
    assert "note: moved" in lines[1]
    assert "0.3 J/token" in lines[2]
    assert "note:" not in lines[2]


@pytest.mark.parametrize(
    ("energy", "says"),
    [
        ([], "  so far: - J/token"),
        ([EnergySoFar("gpu", "counter", 3, 0.12345)], "0.1235 J/token out, boundary gpu (counter), 3 valid trial(s)"),
        ([EnergySoFar("cpu", "modelled", 3, 2.0)], "2 J/token out, boundary cpu (modelled, not measured)"),
        ([EnergySoFar("gpu", "simulated", 1, 2.0)], "(simulated, not measured)"),
        ([EnergySoFar("gpu", "counter", 1, None)], "- J/token out, boundary gpu"),
    ],
)
def test_what_a_figure_is_stands_beside_it(energy, says):
    assert says in "\n".join(shown(SoFar(tuple(energy))))


def test_failures_are_counted_by_class():
    assert "  failures: none" in shown(SoFar())
    assert "  failures: 2 x engine_died, 1 x invalid: not_steady" in shown(
        known(0.1, failures=[("engine_died", 2), ("invalid: not_steady", 1)])
    )


def test_nodes_that_say_nothing_give_no_number():
    assert "  now: - tokens/s, - W on 0 node(s)" in head(snapshot(nodes=[]), SoFar())


def test_watts_that_nobody_measured_say_so():
    assert "60.5 W (modelled, not measured) on 2 node(s)" in head(snapshot(), known(0.1, "modelled"))[1]
    both = SoFar((*known(0.1, "modelled").energies, *known(0.1).energies))
    assert "60.5 W on 2 node(s)" in head(snapshot(), both)[1]


def test_a_driver_that_is_silent_is_said():
    lost = replace(snapshot(), updated_s=time.time() - 3600 * 2)
    assert any("has been silent for 2.0 h" in text for text in head(lost, SoFar()))


# Against records.


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    """Two valid trials, one on a GPU of the simulator, others that failed, one invalid, and one of another sweep."""
    warehouse = Warehouse.at(tmp_path_factory.mktemp("watched") / "records")
    truths = [add_trial(warehouse, Spec(repeat=i, busy_w=40.0 + 20 * i), i) for i in range(2)]
    gpu = Spec(
        meters=(Meter("simulated", "SIM-1", "gpu_board", "simulated"),),
        devices=("SIM-1",),
        accelerator="H100",
        simulated=True,
    )
    simulated = add_trial(warehouse, gpu, 2)
    for number, failure in enumerate(("engine_died", "engine_died", "out_of_memory")):
        spec = Spec(outcome="failed", failure_class=failure, error="it died", attempt=number + 1)
        add_trial(warehouse, spec, 3 + number)
    add_trial(warehouse, Spec(quantization="q4_0", fail_every=3), 6)
    add_trial(warehouse, Spec(quantization="q2_k", busy_w=500.0, sweep="another"), 7)
    return warehouse, truths, simulated


def test_energy_per_token_is_that_of_the_trials_of_this_sweep(records):
    warehouse, truths, simulated = records
    found = so_far(warehouse, "made-up")
    cpu, gpu = found.energies
    assert (cpu.boundary, cpu.fidelity, cpu.trials) == ("cpu", "modelled", 2)
    expected = sum(t.window_j for t in truths) / sum(t.output_tokens for t in truths)
    assert cpu.j_per_token == pytest.approx(expected, rel=1e-3)
    assert (gpu.boundary, gpu.fidelity, gpu.trials) == ("gpu", "simulated", 1)
    assert gpu.j_per_token == pytest.approx(simulated.window_j / simulated.output_tokens, rel=1e-3)
    assert dict(found.failures) == {"engine_died": 2, "out_of_memory": 1, "invalid: requests_failed": 1}
    assert so_far(warehouse, "nobody's") == SoFar()


def status(warehouse, *arguments):
    return CliRunner().invoke(cli, ["status", *arguments, "--warehouse", warehouse.root])


def test_the_command_follows_a_sweep_to_its_end(records):
    warehouse, _, _ = records
    save(warehouse, snapshot(valid=1, failed=3))
    save(warehouse, replace(snapshot("ended", valid=3), sweep="older", updated_s=time.time() - 99))
    end = threading.Timer(1.0, save, (warehouse, snapshot("ended", valid=2, failed=3, invalid=1)))
    end.start()
    done = status(warehouse, "--watch", "--every", "0.1")
    end.join()
    assert done.exit_code == 1, done.output
    first, last = done.output.index("made-up: running"), done.output.index("made-up: ended, 3 of 4 trials")
    assert first < last
    assert "boundary cpu (modelled, not measured), 2 valid trial(s)" in done.output
    assert "2 x engine_died" in done.output
    assert status(warehouse, "older", "--watch").exit_code == 0


def test_watching_is_for_people(records):
    done = status(records[0], "--watch", "--json")
    assert isinstance(done.exception, BadInput)
