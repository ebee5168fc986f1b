"""Forecasts of whole sweeps: sums, prices, what has none, and where simulated GPUs are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from joulemark.agents.orders import NodeFacts, TrialResult
from joulemark.orchestrator.inventory import Node, simulated_gpus, simulated_here, suits, why_nowhere
from joulemark.orchestrator.manifests import SweepFacts, manifest
from joulemark.orchestrator.plan import Wanted, groups
from joulemark.orchestrator.simulate import figures_of, forecast, start_seconds
from joulemark.orchestrator.simulate_text import forecast_lines, forecast_record
from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.schema.trial import NodePart
from joulemark.workloads.matrix import expand
from joulemark.workloads.models.catalogue import catalogue
from joulemark.workloads.site import Price, default_site
from joulemark.workloads.sweep import parse_sweep
from joulemark.workloads.traffic.tables import Tables
from joulemark.workloads.workload import Arrivals, Length, Load

SWEEP = """
schema: 1
name: s
matrix:
  model: llama-3.1-8b
  engine: {engine}
  accelerator: {accelerator}
  concurrency: [2, 8]
workload: {{input_tokens: 64, output_tokens: 16}}
measure: {{repeats: 3, starts: 2, warmup: 30s, window: 60s}}
"""


def cells_of(engine="vllm", accelerator="H100"):
    return expand(parse_sweep(SWEEP.format(engine=engine, accelerator=accelerator), "s.yaml")).cells


def made(cells, site=None, repeats=3, starts=2):
    facts = {c.deployment.model.name: catalogue()[c.deployment.model.name].facts for c in cells}
    return forecast(groups(cells, repeats, starts, ()), facts, Tables(), site or default_site())


def test_a_sweep_is_the_sum_of_its_starts_and_trials():
    cells = cells_of()
    found = made(cells)
    facts = catalogue()["llama-3.1-8b"].facts
    (group, _) = groups(cells, 3, 2, ())
    start_s = start_seconds(group, facts)
    assert [c.trials for c in found.cells] == [6, 6]
    seconds = 2 * start_s + sum(6 * c.trial_s for c in found.cells)
    assert found.busy_s == pytest.approx(seconds)
    assert found.gpu_hours == pytest.approx(seconds / 3600)
    joules = 2 * start_s * 120 + sum(6 * c.trial_s * c.figures.watts for c in found.cells)
    assert found.gpu_kwh == pytest.approx(joules / 3.6e6)
    assert found.node_kwh == pytest.approx((joules + 350 * seconds) / 3.6e6)
    assert found.electricity == pytest.approx(found.node_kwh * 1.56 * 0.13)
    assert found.gpu_cost == pytest.approx(found.gpu_hours * 3.0)
    assert (found.complete, found.power_included, found.starts) == (True, True, 2)


def test_trials_are_as_long_as_their_requests_need():
    (short, _) = (c.trial_s for c in made(cells_of()).cells)
    assert short == pytest.approx(30 + 60 + 3, abs=1)
    cell = cells_of()[0]
    long = replace(cell, workload=replace(cell.workload, output_tokens=4000))
    (found,) = made([long]).cells
    assert found.trial_s == pytest.approx(max(30, found.figures.request_s) + 13 * found.figures.request_s + 3)


def test_the_same_cell_on_the_simulated_engine_is_forecast_alike():
    real, simulated = ([c.figures for c in made(cells_of(engine)).cells] for engine in ("vllm", "simulated"))
    assert real == simulated


def test_what_has_no_forecast_says_why_and_is_not_0():
    cells = [*cells_of(accelerator="H100"), *cells_of(accelerator="RTX-4090")]
    found = made(cells)
    assert not found.complete
    assert [c.figures is None for c in found.cells] == [False, False, True, True]
    assert found.gpu_cost is None
    text = "\n".join(forecast_lines(found, default_site()))
    assert "no forecast for 2 cells: no figures of RTX-4090" in text
    assert "energy of the cells that have a forecast" in text
    nothing = made(cells_of(accelerator="RTX-4090"))
    record = forecast_record(nothing, default_site())
    assert (record["gpu_energy_kwh"], record["electricity"], record["fidelity"]) == (None, None, "simulated")
    assert "RTX-4090" in record["cells"][0]["why_not"]


def test_prices_without_power_add_electricity():
    site = replace(default_site(), gpu_hour={"H100": Price(2.0, includes_power=False)})
    found = made(cells_of(), site)
    assert found.gpu_cost == pytest.approx(2.0 * found.gpu_hours)
    assert not found.power_included
    assert "in that price" not in forecast_lines(found, site)[-1]


def test_open_loops_and_shares_of_the_highest_rate():
    cell, facts = cells_of()[0], catalogue()["llama-3.1-8b"].facts
    at_rate = replace(cell.workload, concurrency=None, arrivals=Arrivals("poisson", rate_per_s=5.0))
    found = figures_of(replace(cell, workload=at_rate), facts, Tables())
    assert found.requests_per_s == pytest.approx(5.0, rel=0.3)
    half = replace(at_rate, arrivals=Arrivals("constant"), load=Load(fraction=0.5), max_in_flight=64)
    found = figures_of(replace(cell, workload=half), facts, Tables())
    full = figures_of(replace(cell, workload=replace(cell.workload, concurrency=64)), facts, Tables())
    assert found.kept_up
    assert found.requests_per_s == pytest.approx(full.requests_per_s / 2, rel=0.1)


def test_lengths_that_differ_and_requests_that_never_fit():
    cell, facts = cells_of()[0], catalogue()["llama-3.1-8b"].facts
    drawn = replace(cell.workload, input_tokens=Length("uniform", 10, 100), output_tokens=Length("uniform", 5, 50))
    found = figures_of(replace(cell, workload=drawn), facts, Tables())
    assert found.input_tokens_per_s / found.output_tokens_per_s == pytest.approx(55 / 27.5, rel=0.5)
    with pytest.raises(BadInput, match="never fits"):
        figures_of(replace(cell, workload=replace(cell.workload, input_tokens=10**6)), facts, Tables())


BARE, EIGHT, OTHER = Node("a", "", 0, None), Node("b", "", 8, "H100"), Node("c", "", 8, "H200")


def test_simulated_gpus_are_where_a_node_declares_them_or_declares_none():
    deployment = cells_of("simulated")[0].deployment
    assert [suits(deployment, n) for n in (BARE, EIGHT, OTHER)] == [True, True, False]
    assert [simulated_here(deployment, n) for n in (BARE, EIGHT)] == [True, False]
    assert "8 x H200" in why_nowhere(deployment, [OTHER])
    both = [c.deployment for a in ("H100", "H200") for c in cells_of("simulated", a)]
    assert simulated_gpus(both, BARE) == {"H100": 1, "H200": 1}
    assert simulated_gpus(both, EIGHT) == {"H100": 8}
    assert simulated_gpus([c.deployment for c in cells_of("vllm")], EIGHT) == {}


def test_real_engines_have_no_place_where_there_is_no_gpu():
    deployment = cells_of("vllm")[0].deployment
    assert not suits(deployment, BARE)
    assert not simulated_here(deployment, BARE)


def test_a_head_that_declares_nothing_to_ray_takes_no_work():
    head = replace(BARE, takes_work=False)
    simulated = cells_of("simulated")[0].deployment
    for deployment in (simulated, replace(cells_of("vllm")[0].deployment, accelerator="cpu")):
        assert suits(deployment, BARE)
        assert not suits(deployment, head)
        assert "no CPU for work" in why_nowhere(deployment, [head])


def test_manifests_say_whether_the_engine_was_the_simulator():
    node = NodeFacts("n", "boot", 5, "cpu", 2, 1, (), (), None, {}, {})
    for engine, is_simulated in (("vllm", False), ("simulated", True)):
        trial = Wanted(cells_of(engine)[0], 0, 0)
        result = TrialResult("done", (), NodePart("n", "boot", ("SIM-1",), "H100"), 1, 2)
        found = manifest(trial, 0, SweepFacts("s", 1, 1, {}), node, result, None)
        assert found.simulated is is_simulated
