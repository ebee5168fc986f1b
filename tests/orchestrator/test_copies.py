"""The same cells on several nodes: every node has all repeats, and goes on where it had stopped."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from places import cell, nodes

from joulemark.orchestrator.copies import copies
from joulemark.orchestrator.plan import group

CELLS = [cell("a", 1), cell("a", 8), cell("b", 1)]


def there(done):
    """Return what is valid where, of (node, cells, repeats) that are done."""
    found = {}
    for name, cells, repeats in done:
        for trial in group(cells, repeats, 0).trials:
            found[trial.key] = found.get(trial.key, frozenset()) | {name}
    return found


def test_all_nodes_measure_all_cells():
    found = copies(CELLS, 2, 1, {}, nodes(3), None)
    assert (found.wanted, found.lacking) == (18, ())
    places = sorted((g.deployment.model.name, *g.nodes) for g in found.groups)
    assert places == [(m, f"n{i:03d}") for m in "ab" for i in range(3)]


def test_a_number_of_nodes_leaves_the_choice_open_until_they_are_free():
    found = copies(CELLS, 2, 1, {}, nodes(3), 2)
    assert found.wanted == 12
    assert [(g.deployment.model.name, len(g.nodes)) for g in found.groups] == [("a", 3), ("a", 3), ("b", 3), ("b", 3)]


def test_a_node_that_has_begun_finishes_and_the_others_do_not_measure_what_it_has():
    begun = there([("n001", CELLS[:2], 1), ("n002", CELLS[2:], 2)])
    found = copies(CELLS, 2, 1, begun, nodes(3), 2)
    assert found.wanted == 12
    of_a = [g for g in found.groups if g.deployment.model.name == "a"]
    assert [(sorted(g.nodes), len(g.trials)) for g in of_a] == [(["n001"], 2), (["n000", "n002"], 4)]
    assert {t.repeat for t in of_a[0].trials} == {1}
    of_b = [g for g in found.groups if g.deployment.model.name == "b"]
    assert [(sorted(g.nodes), len(g.trials)) for g in of_b] == [(["n000", "n001"], 2)]


def test_nothing_is_left_when_as_many_nodes_as_asked_have_everything():
    done = there([(n, CELLS, 2) for n in ("n000", "n002")])
    assert copies(CELLS, 2, 1, done, nodes(3), 2).groups == ()
    everywhere = copies(CELLS, 2, 1, done, nodes(3), None)
    assert [sorted(g.nodes) for g in everywhere.groups] == [["n001"], ["n001"]]
    assert everywhere.wanted == 18


def test_what_another_node_did_that_is_gone_is_extra():
    done = there([("gone", CELLS, 2)])
    found = copies(CELLS, 2, 1, done, nodes(1), 1)
    assert (found.wanted, len(found.groups)) == (6, 2)


def test_more_nodes_than_there_are_is_said():
    found = copies([cell("a")], 1, 1, {}, nodes(2), 3)
    assert [why for _, why in found.lacking] == ["asks for 3 nodes, and 2 can run it"]
    assert (found.wanted, len(found.groups)) == (3, 2)


def test_cells_that_no_node_can_run_are_left_to_be_said_once_for_all():
    found = copies([cell("a", accelerator="H100")], 1, 1, {}, nodes(2), None)
    assert [g.nodes for g in found.groups] == [None]
    assert found.wanted == 1
