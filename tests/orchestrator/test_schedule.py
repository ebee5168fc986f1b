"""What a free node takes: starts apart, longest first, new to the node, copies on different nodes, nobody starved."""

import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from places import cell, node, nodes

from joulemark.orchestrator.copies import copies
from joulemark.orchestrator.forecast import Outlook, lanes_by_accelerator, makespan_s
from joulemark.orchestrator.inventory import suits, why_nowhere
from joulemark.orchestrator.lanes import Lanes
from joulemark.orchestrator.plan import group, groups
from joulemark.orchestrator.schedule import Schedule
from joulemark.orchestrator.share_out import share_out
from joulemark.workloads.cell import Deployment, EngineRef, ModelRef, Parallel


def seconds(g):
    return sum(t.cell.window.window_s for t in g.trials)


def names(schedule, where):
    found = []
    while (taken := schedule.take(where)) is not None:
        found.append((taken.deployment.model.name, taken.start))
    return found


def test_first_starts_come_before_second_ones_and_the_longest_first():
    cells = [cell("short", window_s=1), cell("long", window_s=9), cell("middle", window_s=5)]
    schedule = Schedule.of(groups(cells, 1, 2, ()), seconds)
    order = [(m, s) for s in range(2) for m in ("long", "middle", "short")]
    assert names(schedule, node("n")) == order


def test_a_node_takes_what_it_has_not_run_yet():
    schedule = Schedule.of(groups([cell("a", window_s=3), cell("b", window_s=2)], 1, 2, ()), seconds)
    one, other = nodes(2)
    first = [schedule.take(n).deployment.model.name for n in (one, other)]
    second = [schedule.take(n).deployment.model.name for n in (one, other)]
    assert (first, second) == (["a", "b"], ["b", "a"])


def test_only_nodes_that_suit_take_a_group_and_gpu_nodes_take_gpu_work_first():
    cells = [cell("c", window_s=9), cell("g", accelerator="H100", devices=4)]
    schedule = Schedule.of(groups(cells, 1, 1, ()), seconds)
    assert schedule.take(node("small", 2)).deployment.model.name == "c"
    assert schedule.take(node("cpu")) is None
    assert not schedule.has(node("other", 8, "H200"))
    assert schedule.take(node("big", 8)).deployment.model.name == "g"


def test_copies_go_to_different_nodes():
    schedule = Schedule.of(copies([cell("a"), cell("b")], 1, 1, {}, nodes(3), 2).groups, seconds)
    one, two, three = nodes(3)
    assert {g for g, _ in names(schedule, one)} == {"a", "b"}
    assert len(names(schedule, two)) == 2
    assert names(schedule, three) == []
    assert list(schedule.groups()) == []


def test_a_group_that_waits_for_gpus_is_not_overtaken():
    cells = [cell("one", accelerator="H100", devices=1), cell("four", accelerator="H100", devices=4)]
    schedule = Schedule.of(groups(cells, 1, 1, ()), seconds, widest_first=True)
    eight = node("n", 8)
    assert schedule.take(eight, free=3) is None
    assert schedule.has(eight)
    assert schedule.take(eight, free=4).deployment.model.name == "four"
    assert schedule.take(eight, free=4).deployment.model.name == "one"


def test_work_for_the_cpus_waits_until_no_gpu_is_held():
    schedule = Schedule.of(groups([cell("c")], 1, 1, ()), seconds)
    assert schedule.take(node("n", 8), free=7) is None
    assert schedule.take(node("n", 8), free=8) is not None


def test_what_is_there_meanwhile_is_taken_out_of_all_groups():
    all_groups = groups([cell("a"), cell("b")], 2, 1, ())
    schedule = Schedule.of(all_groups, seconds)
    valid = {t.key for t in all_groups[0].trials} | {all_groups[1].trials[0].key}
    assert schedule.drop(dict.fromkeys(valid, frozenset({"n"}))) == 3
    assert [[t.repeat for t in g.trials] for g in schedule.groups()] == [[1]]


def test_a_copy_that_lost_its_node_is_done_there_or_anew_elsewhere():
    where = nodes(3)
    schedule = Schedule.of(copies([cell("a")], 3, 1, {}, where, 2).groups, seconds)
    first, second = schedule.take(where[0]), schedule.take(where[1])
    settled = {first.trials[0].key}
    schedule.put_back(first, where[0], settled)
    schedule.put_back(second, where[1], {second.trials[0].key})
    assert len(schedule.take(where[0]).trials) == 2, "the rest of what it had begun"
    assert len(schedule.take(where[2]).trials) == 3, "all repeats, since it has none"
    assert schedule.take(where[1]) is None


def test_a_copy_is_there_only_where_its_node_has_it():
    found = copies([cell("a")], 1, 1, {}, nodes(2), None)
    schedule = Schedule.of(found.groups, seconds)
    key = found.groups[0].trials[0].key
    assert schedule.drop({key: frozenset({"n001"})}) == 1
    assert [g.nodes for g in schedule.groups()] == [frozenset({"n000"})]


def uneven(number, seed=1):
    """Return groups of one cell each whose lengths differ by a factor of up to 30."""
    draw = random.Random(seed)  # noqa: S311 -- lengths, not secrets
    return groups([cell(f"m{i}", window_s=round(10 * 30 ** draw.random(), 1)) for i in range(number)], 1, 1, ())


@pytest.mark.parametrize(("number", "workers"), [(200, 1), (400, 7), (1000, 50)])
def test_all_nodes_end_together(number, workers):
    work = uneven(number)
    bound = max(sum(map(seconds, work)) / workers, *map(seconds, work))
    assert makespan_s(work, nodes(workers), seconds, lambda _: 1) <= bound / 0.95


def share(work, workers, start_s=5.0):
    return share_out(work, workers, lambda g: start_s + seconds(g), lambda _: start_s, Lanes.of("node", work))


def test_a_group_that_would_outlast_all_others_is_split_by_cells():
    cells = [cell("a", 2**i, window_s=30) for i in range(8)] + [cell("b", window_s=30)]
    whole = groups(cells, 3, 1, ())
    found = share(whole, nodes(4))
    assert len(found) > 2
    assert sorted(t.key for g in found for t in g.trials) == sorted(t.key for g in whole for t in g.trials)
    assert {(g.slots, g.context_tokens) for g in found if g.deployment.model.name == "a"} == {(128, 15)}
    homes = [{t.cell.cell_id for t in g.trials} for g in found]
    assert all(one.isdisjoint(other) for n, one in enumerate(homes) for other in homes[:n])
    cost = lambda g: 5.0 + seconds(g)  # noqa: E731 -- one expression
    assert makespan_s(found, nodes(4), cost, lambda _: 1) < 0.5 * makespan_s(whole, nodes(4), cost, lambda _: 1)


def test_no_group_is_split_where_all_nodes_are_busy_or_an_engine_takes_longer_than_it_measures():
    assert share(uneven(50), nodes(5)) == uneven(50)
    cells = [cell("a", 2**i, window_s=1) for i in range(4)]
    assert len(share(groups(cells, 1, 1, ()), nodes(4), start_s=60)) == 1
    assert len(share(groups(cells, 1, 1, ()), nodes(1))) == 1


def test_several_engines_share_a_node_only_on_request():
    work = groups([cell("a", accelerator="H100", devices=2), cell("b", accelerator="H100", devices=4)], 1, 1, ())
    eight = node("n", 8)
    alone, beside = Lanes.of("node", work), Lanes.of("gpu", work)
    assert (alone.on(eight), beside.on(eight), beside.on(node("cpu"))) == (1, 4, 1)
    assert [beside.of_group(eight, g) for g in work] == [4, 2]
    assert [alone.shared(eight, g) for g in work] == [False, False]
    assert [beside.shared(eight, g) for g in work] == [True, True]
    assert not beside.shared(node("m", 4), work[1]), "one that fills the node has it for itself"


def outlook(work, workers, factor=1.0):
    made = Outlook.of(work, lambda t: factor * t.cell.window.window_s, lambda _: 5.0, {"cpu": workers})
    assert suits(work[0].deployment, nodes(1)[0])
    return made


def test_the_time_left_shrinks_as_trials_end():
    work = groups([cell("a", window_s=100)], 10, 1, ())
    look = outlook(work, 1)
    assert look.left_s() == pytest.approx(1005)
    look.begins("n", work[0])
    assert look.left_s() == pytest.approx(1000)
    look.took("n", work[0].trials[0], 100)
    assert look.left_s() == pytest.approx(900)
    look.ends("n")
    assert look.left_s() == 0


def test_the_time_left_is_corrected_by_how_long_trials_take():
    work = groups([cell("a", window_s=100)], 10, 1, ())
    look = outlook(work, 1)
    look.begins("n", work[0])
    for trial in work[0].trials[:5]:
        look.took("n", trial, 200)
    assert 1.7 < look.pace < 2
    assert look.left_s() == pytest.approx(500 * look.pace)


def test_nodes_that_are_idle_do_not_shorten_the_longest_group():
    work = uneven(3)
    look = outlook(work, 100)
    for number, one in enumerate(work):
        look.begins(f"n{number}", one)
    assert look.left_s() == pytest.approx(max(map(seconds, work)))


def test_lanes_count_where_an_accelerator_is():
    work = groups([cell("a", accelerator="H100"), cell("c")], 1, 1, ())
    where = [node("g", 8), node("h", 8), node("c")]
    assert lanes_by_accelerator(work, where, lambda _: 1) == {"H100": 2, "cpu": 3}


def test_a_group_without_trials_that_are_there_keeps_what_the_engine_needs():
    whole = group([cell("a", 1), cell("a", 64)], 1, 0)
    left = whole.without({whole.trials[1].key})
    assert (left.slots, len(left.trials)) == (whole.slots, 1)
    assert whole.without({t.key for t in whole.trials}) is None


def test_what_only_several_nodes_have_together_is_refused_in_words():
    def wide(over):
        sizes = Parallel(tensor=8, pipeline=2, nodes=over)
        return Deployment(ModelRef("m", "path", "/m"), "bf16", "auto", EngineRef("vllm", "1"), "H100", sizes)

    why = why_nowhere(wide(1), nodes(2, 8))
    assert "needs 16 x H100 in one node, or parallel: {nodes: ...} to span several" in why
    assert "needs 16 x H100 in one node; the nodes have" in why_nowhere(wide(1), nodes(1, 8))
    assert why_nowhere(wide(1), [node("n", 16)]) is None
    assert why_nowhere(wide(2), nodes(2, 8)) is None
    why = why_nowhere(wide(2), [*nodes(1, 8), node("small", 4)])
    assert "needs 8 x H100 in each of 2 nodes, and 1 can hold that" in why


def test_a_group_over_several_nodes_takes_the_time_of_all_of_them():
    cells = [cell("wide", window_s=9.0), cell("one", window_s=9.0)]
    over = replace(cells[0].deployment, parallel=Parallel(data=2, nodes=2))
    pending = groups([replace(cells[0], deployment=over), cells[1]], 1, 1, ())
    assert makespan_s(pending, nodes(2), lambda _: 10.0, lambda _: 1) == 20.0
    assert makespan_s(pending, nodes(3), lambda _: 10.0, lambda _: 1) == 10.0
    assert makespan_s(pending[1:], nodes(2), lambda _: 10.0, lambda _: 1) == 10.0
