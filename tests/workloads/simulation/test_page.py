"""docs/simulation.md holds the assumptions and the forecasts as they are."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest

from joulemark.workloads.simulation.hardware import parameters

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "simulation.md").read_text(encoding="utf-8")
DEFAULT = ROOT.parent / "shared" / "reference"


@pytest.fixture(scope="module")
def forecasts():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    import forecasts

    return forecasts


@pytest.mark.parametrize("name", parameters())
def test_every_assumption_is_on_the_page(name):
    parameter = parameters()[name]
    assert f"| `{name}` | {parameter.value:g} | {parameter.source} |" in PAGE


def test_the_table_is_what_the_script_prints(forecasts):
    folder = Path(os.environ.get("JOULEMARK_REFERENCE", DEFAULT))
    if not (folder / forecasts.FILE).exists():
        pytest.skip(f"there is no {forecasts.FILE} in {folder}")
    table = forecasts.table([forecasts.forecast(row) for row in forecasts.read(folder)])
    assert table in PAGE, f"python benchmarks/forecasts.py prints another table:\n{table}"


def test_what_a_quarter_more_does_is_on_the_page(forecasts):
    assert forecasts.sensitivity() in PAGE


def test_errors_are_signed_and_summed_up_right(forecasts):
    """A forecast of half of what was published is off by -50 %, and by a factor of 2."""
    published = {"source": "ML.ENERGY v3 lm-arena-chat", "system": "H100", "gpus": "1", "precision": "bf16"}
    published |= {"model": "Llama-3.1-8B-Instruct", "setting": "max_num_seqs 8", "boundary": "gpu"}
    published |= {"joules_per_output_token": "1", "output_tokens_per_second": "", "power_w": ""}
    row = forecasts.forecast(published)
    exact = {**published, "joules_per_output_token": str(2 * row.j_per_token)}
    found = forecasts.forecast(exact)
    assert found.off("joules_per_output_token", found.j_per_token) == pytest.approx(-0.5)
    assert found.off("power_w", found.watts) is None
    assert re.search(r"1 of 1 forecasts are too low.*factor of 2\.00, .*they are 0\.50", forecasts.summary([found]))
