"""What the warehouse has of a sweep, node by node, and what is left of one that asks for several nodes."""

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "warehouse"))

from synthetic import Spec, add_trial

from joulemark.orchestrator.have import Have, have
from joulemark.orchestrator.inventory import Node
from joulemark.orchestrator.sweep_work import load_work
from joulemark.warehouse.store.location import Warehouse

SWEEP = """
schema: 1
name: s
matrix: {model: tiny-dense, engine: llamacpp, quantization: q8_0, concurrency: 2}
workload: {input_tokens: 64, output_tokens: 16}
measure: {repeats: 2, warmup: 5s, window: 10s, nodes: NODES}
"""
NODES = [Node(n, f"id-{n}", 0, None) for n in ("node-a", "node-b", "node-c")]


def test_valid_trials_and_free_attempts_are_those_of_each_node(tmp_path):
    warehouse = Warehouse.at(tmp_path)
    assert have(warehouse, ()) == Have()
    first = Spec()
    specs = [
        first,
        replace(first, nodes=("node-b",)),
        replace(first, nodes=("node-b",), repeat=1, reasons=("not_steady",)),
    ]
    for number, spec in enumerate(specs):
        add_trial(warehouse, spec, number)
    cell = first.cell.cell_id
    found = have(warehouse, {cell})
    assert found.valid == {(cell, 0, 0): {"node-a", "node-b"}}
    assert found.attempts == {
        ((cell, 0, 0), "node-a"): 1,
        ((cell, 0, 0), "node-b"): 1,
        ((cell, 0, 1), "node-b"): 1,
    }
    assert have(warehouse, {"another"}).valid == {}


def left(tmp_path, asked, done=()):
    """Return the work that is left; ``done`` are (node, repeat) of the sweep's only cell."""
    warehouse = Warehouse.at(tmp_path / "records")
    file = tmp_path / "s.yaml"
    file.write_text(SWEEP.replace("NODES", str(asked)))
    work = load_work(file, None, warehouse, NODES)
    (cell,) = work.expansion.cells
    for number, (name, repeat) in enumerate(done):
        spec = Spec(nodes=(name,), repeat=repeat)
        add_trial(warehouse, OfCell(**{**vars(spec), "of": cell}), number)
    return load_work(file, None, warehouse, NODES)


class OfCell(Spec):
    """A trial of a given cell."""

    def __init__(self, of, **fields):
        object.__setattr__(self, "of", of)
        super().__init__(**fields)

    @property
    def cell(self):
        return self.of


def places(work):
    return sorted((sorted(g.nodes or ()), [t.repeat for t in g.trials]) for g in work.groups)


def test_every_node_goes_on_with_what_it_has_not(tmp_path):
    work = left(tmp_path, "all", [("node-a", 0), ("node-b", 0), ("node-b", 1)])
    assert places(work) == [(["node-a"], [1]), (["node-c"], [0, 1])]
    assert (work.wanted, work.had) == (6, 3)


def test_as_many_nodes_as_asked(tmp_path):
    work = left(tmp_path, 2, [("node-b", 0)])
    assert places(work) == [(["node-a", "node-c"], [0, 1]), (["node-b"], [1])]
    assert (work.wanted, work.had) == (4, 1)


def test_one_node_is_any_node(tmp_path):
    work = left(tmp_path, 1, [("node-b", 0)])
    assert places(work) == [([], [1])]
    assert (work.wanted, work.had) == (2, 1)


def test_more_nodes_than_there_are_leave_the_sweep_incomplete(tmp_path):
    work = left(tmp_path, 4)
    assert len(work.groups) == 3
    assert [why for _, why in work.homeless] == ["asks for 4 nodes, and 3 can run it"]
    assert (work.wanted, work.had) == (8, 0)
