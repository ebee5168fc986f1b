"""The tutorial's sweep file is what its text says of it."""

import sys
from pathlib import Path

from joulemark.workloads.matrix import expand
from joulemark.workloads.sweep import load_sweep

sys.path.insert(0, str(Path(__file__).parent))
from pages import ROOT, blocks

PAGE = "docs/tutorial.md"


def test_it_is_four_cells_in_two_starts(tmp_path):
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    (block,) = blocks(PAGE, "yaml")
    assert "put this into `first.yaml`" in text
    (tmp_path / "first.yaml").write_text(block)
    sweep = load_sweep(tmp_path / "first.yaml")
    expansion = expand(sweep)
    assert (expansion.warnings, expansion.excluded) == ((), ())
    cells = expansion.cells
    assert all(cell.deployment.on_cpu for cell in cells)
    assert len({cell.deployment.deployment_id for cell in cells}) == 2
    assert (len(cells), len(cells) * sweep.measure.repeats * sweep.measure.starts) == (4, 8)


def test_it_runs_what_it_writes():
    commands = [line.split()[1:] for block in blocks(PAGE, "sh") for line in block.splitlines()]
    assert [c[0] for c in commands[:3]] == ["doctor", "plan", "run"]
    assert {c[1] for c in commands[1:3]} == {"first.yaml"}
