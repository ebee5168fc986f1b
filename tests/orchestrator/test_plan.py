"""Which trials are wanted, and how few engine starts they take."""

from joulemark.orchestrator.plan import groups, label
from joulemark.workloads.cell import Cell, Deployment, EngineRef, ModelRef, Parallel, WindowPolicy, Workload


def cell(model="a", concurrency=1, tokens=10):
    deployment = Deployment(
        ModelRef(model, "path", f"/{model}"), "f16", "f16", EngineRef("llamacpp", "1"), "cpu", Parallel()
    )
    return Cell(deployment, Workload(tokens, 5, concurrency), WindowPolicy(1.0, 2.0))


CELLS = [cell("a", 1), cell("b", 1), cell("a", 8), cell("b", 8)]


def test_an_engine_starts_once_for_all_concurrencies_with_repeats_interleaved():
    found = groups(CELLS, repeats=2, starts=1, have=())
    assert [g.deployment.model.name for g in found] == ["a", "b"]
    assert [(t.repeat, t.cell.workload.concurrency) for t in found[0].trials] == [(0, 1), (0, 8), (1, 1), (1, 8)]
    assert (found[0].slots, found[0].context_tokens) == (8, 15)


def test_every_start_is_a_group_of_its_own():
    found = groups(CELLS, repeats=1, starts=3, have=())
    assert [(g.start, g.deployment.model.name) for g in found] == [(s, m) for s in range(3) for m in "ab"]
    assert sum(len(g.trials) for g in found) == 12


def test_what_is_there_is_not_run_again_and_the_engine_starts_as_before():
    every = [t for g in groups(CELLS, 2, 1, ()) for t in g.trials]
    have = {t.key for t in every if t.cell.workload.concurrency == 8 or t.repeat == 0}
    found = groups(CELLS, 2, 1, have)
    assert [[(t.repeat, t.cell.workload.concurrency) for t in g.trials] for g in found] == [[(1, 1)], [(1, 1)]]
    assert {g.slots for g in found} == {8}
    assert groups(CELLS, 2, 1, {t.key for t in every}) == []


def test_a_label_names_what_differs():
    assert label(cell("tiny", 8)) == "tiny f16 llamacpp 10+5 c8"
