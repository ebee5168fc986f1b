"""What the page computes is what the views give, for any assumptions."""

from __future__ import annotations

import random
from urllib.parse import urlencode

import pytest
from publishing import TASK
from rankings import BY, ranks

from joulemark.warehouse.compare import compare
from joulemark.warehouse.site.sql import ranks_by_cost

EXTRA = ("tokens_per_joule", "kwh_per_million", "gpu_cost_per_million", "power_cost_per_million", "tokens_per_money")
EXTRA += ("j_per_response", "cost_per_response", "deployments", "site_tokens_per_s")


def assumptions(seed):
    dice = random.Random(seed)  # noqa: S311 -- nothing secret is drawn
    return {
        "price": round(dice.uniform(0.01, 0.6), 4),
        "pue": round(dice.uniform(1, 2), 3),
        "gpuHour": round(dice.uniform(0.1, 9), 3),
        "gpu.NVIDIA H100": round(dice.uniform(0.1, 9), 3),
        "includesPower": dice.choice([0, 1]),
        "utilisation": dice.choice([1, round(dice.uniform(0.05, 0.99), 3)]),
        "attempts": round(dice.uniform(1, 4), 2),
        "response": dice.randint(1, 2000),
        "other": dice.randint(0, 300),
        "otherPrice": round(dice.uniform(0, 1e-5), 8),
        "otherJ": round(dice.uniform(0, 0.5), 4),
        "budget": dice.randint(200, 100_000),
    }


def expected(connection, a):
    """Return by key of the row what the views and macros give."""
    rows = {}
    for accelerator in {r["accelerator"] for r in connection.sql("from cell_results").to_pylist()}:
        hour = a["gpu.NVIDIA H100"] if accelerator == "NVIDIA H100" else a["gpuHour"]
        u, included = a["utilisation"], str(bool(a["includesPower"])).lower()
        query = f"""
        with base as (
          select l.cell, l.boundary, l.fidelity, r.accelerator, r.devices,
            case when {u} = 1 then l.j_per_token else v.j_per_output_token end as j,
            v.tokens_per_s as rate, v.mean_w as watts,
            c.gpu_cost_per_million / {u} as gpu_cost,
            c.kwh_per_million / l.j_per_token * j as kwh
          from leaderboard l join cell_results r using (cell, boundary, fidelity)
          join utilisation_adjusted({u}) v using (cell, boundary, fidelity)
          join cost({hour}, {a["price"]}, {a["pue"]}, {included}) c using (cell, boundary, fidelity)
        ), priced as (
          select base.*, case when {included} and base.devices > 0 then 0 else kwh * {a["price"]} end as power_cost,
            f.deployments as n, f.tokens_per_s as site_rate
          from base join facility({a["budget"]}, {a["budget"]}, {a["pue"]}, {u}) f using (cell, boundary, fidelity)
        )
        select *, cost_per_response({a["response"]}, {a["attempts"]}, j, {a["other"]}, {a["otherJ"]}) as j_per_response,
          cost_per_response({a["response"]}, {a["attempts"]}, (gpu_cost + power_cost) / 1e6,
          {a["other"]}, {a["otherPrice"]}) as cost_per_response
        from priced where accelerator = ?"""  # noqa: S608 -- numbers of ours
        found = connection.duckdb.sql(query, params=[accelerator]).to_arrow_table().to_pylist()
        rows |= {f"{r['cell']}.{r['boundary']}.{r['fidelity']}": r for r in found}
    return rows


@pytest.mark.parametrize("seed", range(5))
def test_every_figure_is_that_of_the_views(tab, address, connection, seed):
    asked = assumptions(seed)
    tab.go(f"{address}/index.html#{urlencode([*asked.items(), *(('columns', c) for c in EXTRA)])}")
    wanted = expected(connection, asked)
    near = {"rel": 1e-7, "abs": 1e-15}
    page = {name: tab.values(name) for name in ("j_per_token", "tokens_per_s", "mean_w", "cost_per_million", *EXTRA)}
    assert set(page["j_per_token"]) == {k for k, r in wanted.items() if r["fidelity"] != "simulated"}
    for key, figures in page["j_per_token"].items():
        row = wanted[key]
        cost = row["gpu_cost"] + row["power_cost"]
        assert figures == pytest.approx(row["j"], **near)
        assert page["tokens_per_joule"][key] == pytest.approx(1 / row["j"], **near)
        assert page["tokens_per_s"][key] == pytest.approx(row["rate"], **near)
        assert page["mean_w"][key] == pytest.approx(row["watts"], **near)
        assert page["kwh_per_million"][key] == pytest.approx(row["kwh"], **near)
        assert page["gpu_cost_per_million"][key] == pytest.approx(row["gpu_cost"], **near)
        assert page["power_cost_per_million"][key] == pytest.approx(row["power_cost"], **near)
        assert page["cost_per_million"][key] == pytest.approx(cost, **near)
        assert page["tokens_per_money"][key] == (pytest.approx(1e6 / cost, **near) if cost else None)
        assert page["j_per_response"][key] == pytest.approx(row["j_per_response"], **near)
        assert page["cost_per_response"][key] == pytest.approx(row["cost_per_response"], **near)
        assert page["deployments"][key] == row["n"]
        assert page["site_tokens_per_s"][key] == pytest.approx(row["site_rate"], **near)


def test_untouched_it_shows_the_leaderboard(tab, address, connection):
    tab.go(f"{address}/index.html")
    rows = [r for r in connection.sql("from leaderboard").to_pylist() if r["fidelity"] != "simulated"]
    shown = tab.texts("rank")
    assert shown == {f"{r['cell']}.{r['boundary']}.{r['fidelity']}": r["rank"].replace("-", "–") for r in rows}
    assert list(shown) == [f"{r['cell']}.{r['boundary']}.{r['fidelity']}" for r in rows], "the order too"
    figures = tab.values("j_per_token")
    assert figures == pytest.approx({k: r["j_per_token"] for k, r in zip(shown, rows, strict=True)}, rel=1e-7)


def test_ranks_by_cost_are_those_of_the_example(tab, address, connection):
    asked = {"rank": "cost", "price": 0.31, "pue": 1.4, "gpuHour": 2.5, "includesPower": 0}
    tab.go(f"{address}/index.html#{urlencode(asked)}")
    query = ranks_by_cost(gpu_hour=2.5, price=0.31, pue=1.4, includes_power=False)
    rows = [r for r in connection.sql(query).to_pylist() if r["fidelity"] != "simulated"]
    shown = tab.texts("rank")
    assert len(shown) == len(rows)
    for row in rows:
        best, worst = row["rank_best"], row["rank_worst"]
        text = str(best) if best == worst else f"{best}–{worst}"
        assert shown[f"{row['cell']}.{row['boundary']}.{row['fidelity']}"] == text


@pytest.mark.parametrize("metric", BY)
@pytest.mark.parametrize("seed", [0, 1])
def test_ranks_are_those_of_the_views(tab, address, connection, metric, seed):
    """By whatever is ranked, at any utilisation, under any limit."""
    dice = random.Random(f"{metric} {seed}")  # noqa: S311 -- nothing secret is drawn
    asked = assumptions(f"{metric} {seed}") | {"utilisation": round(dice.uniform(0.05, 0.99), 3)}
    del asked["gpu.NVIDIA H100"]
    source = TASK if seed else ""
    name = dice.choice(["itl_p99_ms", "ttft_p99_ms"])
    known = sorted(r[name] for r in connection.sql("from leaderboard").to_pylist() if r[name] is not None)
    limits = {name: dice.choice(known[len(known) // 2 :]) * 1.0001} if seed else {}
    hash_ = {**asked, **{f"max.{n}": v for n, v in limits.items()}, "rank": metric, "attemptsFrom": source}
    tab.go(f"{address}/index.html#{urlencode(hash_)}")
    shown = {key: rank for key, rank in tab.texts("rank").items() if rank != "–"}
    assert shown
    assert shown == ranks(connection, metric, asked, limits, source)


def test_attempts_say_what_they_rest_on(tab, address, connection):
    tab.go(f"{address}/index.html")
    tab.page.get_by_label("attempts from").select_option(f"scores in {TASK}")
    tab.page.get_by_label("tokens per response").fill("300")
    tab.page.get_by_label("rank by").select_option("energy per response")
    query = "from response_energy(300, $1, 0, 0) where fidelity <> 'simulated'"
    found = connection.duckdb.sql(query, params=[TASK]).to_arrow_table().to_pylist()
    wanted = {f"{r['cell']}.{r['boundary']}.{r['fidelity']}": r for r in found}
    assert tab.values("attempts") == pytest.approx({k: r["attempts"] for k, r in wanted.items()})
    figures = tab.values("j_per_response")
    assert figures == pytest.approx({k: r["j_per_response"] for k, r in wanted.items()})
    assert any(v is None for v in figures.values())
    said = tab.texts("attempts")
    assert all((f"score in {TASK}" in said[k]) is (r["attempts_from"] == "quality") for k, r in wanted.items())


def test_a_comparison_is_that_of_the_command(tab, address, connection):
    rows = [r for r in connection.sql("from leaderboard").to_pylist() if r["boundary"] == "cpu" and r["trials"] > 1]
    a, b, c = next(r for r in rows if r["model"] == "two-nodes"), rows[0], rows[-1]
    # Two cells that both ran on the same two nodes: what these did to them cancels.
    d = next(r for r in rows if r["model"] == "two-nodes" and r["cell"] != a["cell"])
    keys = [f"{r['cell']}.{r['boundary']}.{r['fidelity']}" for r in (a, b, c, d)]
    tab.go(f"{address}/index.html#{urlencode([('view', 'compare'), *(('compare', k) for k in keys)])}")
    said = tab.page.locator(".verdicts li")
    pairs = [(a, b), (a, c), (a, d), (b, c), (b, d), (c, d)]
    assert said.count() == len(pairs)
    for i, (left, right) in enumerate(pairs):
        wanted = compare(connection, left["cell"], right["cell"])
        found = said.nth(i)
        assert float(found.get_attribute("data-ratio")) == pytest.approx(wanted.ratio, rel=1e-7)
        assert float(found.get_attribute("data-p")) == pytest.approx(wanted.p, rel=1e-5, abs=1e-12)
        assert float(found.get_attribute("data-low")) == pytest.approx(wanted.interval[0], rel=1e-7)
        assert float(found.get_attribute("data-high")) == pytest.approx(wanted.interval[1], rel=1e-7)
        assert ("not distinguishable" in found.inner_text()) is not wanted.distinguishable


def test_one_trial_is_distinguishable_from_nothing(tab, address, connection):
    (single,) = [
        r for r in connection.sql("from leaderboard").to_pylist() if r["trials"] == 1 and r["fidelity"] != "simulated"
    ]
    other = next(
        r for r in connection.sql("from leaderboard").to_pylist() if r["trials"] > 1 and r["boundary"] == "cpu"
    )
    keys = [f"{r['cell']}.{r['boundary']}.{r['fidelity']}" for r in (single, other)]
    tab.go(f"{address}/index.html#{urlencode([('view', 'compare'), *(('compare', k) for k in keys)])}")
    assert "not distinguishable" in tab.page.locator(".verdicts li").inner_text()


def test_rows_of_other_boundaries_are_not_comparable(tab, address, connection):
    rows = connection.sql("from leaderboard").to_pylist()
    pair = [next(r for r in rows if r["boundary"] == b) for b in ("cpu", "gpu")]
    keys = [f"{r['cell']}.{r['boundary']}.{r['fidelity']}" for r in pair]
    tab.go(f"{address}/index.html#{urlencode([('view', 'compare'), *(('compare', k) for k in keys)])}")
    assert "not comparable" in tab.page.locator(".verdicts li").inner_text()
