"""The page in a real browser: every view, links, keyboard, exports, hostile names, no request elsewhere."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from publishing import ERROR, HOSTILE, SCRIPT, published

VIEWS = ("table", "plots", "compare", "invalid")


def trial_of(connection, where="outcome = 'done' and not simulated"):
    rows = connection.duckdb.sql("from trials select trial, cell, outcome, simulated, model order by trial")
    return rows.filter(where).to_arrow_table().to_pylist()[0]


def test_it_opens_as_a_file_with_the_network_shut(tab, site, connection):
    tab.page.context.set_offline(True)
    trial = trial_of(connection)
    for view in VIEWS:
        tab.go(f"file://{site}/index.html#view={view}")
        tab.page.locator(f"[data-part={view}] :is(table, p)").first.wait_for()
    tab.go(f"file://{site}/index.html#view=trial&trial={trial['trial']}")
    tab.page.locator("#trial canvas").first.wait_for()
    tab.go(f"file://{site}/index.html")
    tab.page.get_by_label("PUE", exact=True).fill("1.4")
    tab.page.wait_for_function("location.hash.includes('pue=1.4')")
    for name in ("method", "history"):
        tab.page.goto(f"file://{site}/{name}.html")
        tab.page.locator("h2").first.wait_for()
    # The one page that needs a server says so.
    tab.page.goto(f"file://{site}/sql.html")
    tab.page.get_by_text("SQL needs a web server").wait_for()


def test_hostile_names_stay_text(tab, address, connection):
    row = next(r for r in connection.sql("from leaderboard").to_pylist() if r["model"] == HOSTILE)
    key = f"{row['cell']}.{row['boundary']}.{row['fidelity']}"
    tab.go(f"{address}/index.html")
    assert HOSTILE in tab.texts("model")[key]
    trial = trial_of(connection, f"cell = '{row['cell']}'")
    views = [f"view=cell&cell={row['cell']}", f"view=trial&trial={trial['trial']}", "view=plots", "view=invalid"]
    views += [urlencode([("view", "compare"), ("compare", key), ("compare", next(iter(tab.texts("rank"))))])]
    for view in views:
        tab.go(f"{address}/index.html#{view}")
        tab.loaded()
        assert tab.page.locator("main img, main b[onclick], main i, main script").count() == 0
    tab.go(f"{address}/index.html#{urlencode({'f.model': HOSTILE, 'f.sweep': SCRIPT, 'search': '<img'})}")
    assert list(tab.texts("rank")) == [key]
    for name in ("method", "history", "sql"):
        tab.page.goto(f"{address}/{name}.html")
        assert tab.page.locator("main img, main b[onclick]").count() == 0


def test_failed_and_invalid_trials_are_listed_and_not_ranked(tab, address, connection):
    tab.go(f"{address}/index.html#view=invalid")
    table = tab.page.locator("#invalid table").first
    table.wait_for()
    text = table.inner_text()
    assert "engine_died" in text
    assert "requests_failed" in text
    assert "<path>/x.gguf at <address> <b onclick=alert(3)>here</b> on node-3" in text, ERROR
    tab.go(f"{address}/index.html")
    bad = {r["cell"] for r in connection.sql("from failures").to_pylist()}
    assert not any(key.split(".")[0] in bad for key in tab.texts("rank"))


def test_a_link_shows_what_its_sender_saw(tab, address):
    tab.go(f"{address}/index.html")
    tab.page.get_by_label("PUE", exact=True).fill("1.3")
    tab.page.get_by_label("utilisation", exact=True).fill("0.4")
    tab.page.get_by_label("ITL p99 at most").fill("500")
    tab.page.get_by_label("rank by").select_option("cost")
    tab.page.get_by_text("Filters").click()
    tab.page.locator("summary", has_text="architecture").click()
    tab.page.locator("[data-name=architecture]").get_by_label("moe").check()
    tab.page.locator("thead button", has_text="tokens/s").first.click()
    tab.page.locator("td.picker input").first.check()
    before = (
        tab.page.evaluate("location.href"),
        {c: tab.values(c) for c in ("rank", "j_per_token", "cost_per_million")},
        tab.texts("rank"),
    )
    assert before[2]
    tab.go(before[0])
    after = (
        tab.page.evaluate("location.href"),
        {c: tab.values(c) for c in ("rank", "j_per_token", "cost_per_million")},
        tab.texts("rank"),
    )
    assert after == before
    assert list(after[2]) == list(before[2])
    assert tab.page.get_by_label("utilisation", exact=True).input_value() == "0.4"
    assert tab.page.locator("td.picker input:checked").count() == 1


@pytest.mark.parametrize(
    "address_part", ["pue=abc&utilisation=7&view=nowhere", "price=-1&compare=x&compare=y", "sort=nothing&x=<b>", "%"]
)
def test_a_wrong_address_does_no_harm(tab, address, address_part):
    tab.go(f"{address}/index.html#{address_part}")
    assert tab.texts("rank")


@pytest.mark.parametrize("name", ["../../evil", "//example.com/evil", "x/../../evil", "%2e%2e/evil"])
def test_a_link_cannot_run_another_script(tab, address, name):
    asked = []
    tab.page.on("request", lambda request: asked.append(request.url))
    for view in ("cell", "trial"):
        tab.go(f"{address}/index.html#{urlencode({'view': view, view: name})}")
        tab.page.locator(f"#{view} [role=alert]").wait_for()
    assert not [url for url in asked if "evil" in url and url.split("#")[0].endswith(".js")]


def test_limits_leave_rows_out_and_rank_the_rest(tab, address, connection):
    rows = connection.sql("from leaderboard where fidelity <> 'simulated' and itl_p99_ms is not null").to_pylist()
    limit = sorted(r["itl_p99_ms"] for r in rows)[len(rows) // 2]
    tab.go(f"{address}/index.html#max.itl_p99_ms={limit}")
    kept = {f"{r['cell']}.{r['boundary']}.{r['fidelity']}" for r in rows if r["itl_p99_ms"] <= limit}
    assert 0 < len(kept) <= len(rows)
    assert set(tab.texts("rank")) == kept


def test_best_configuration_per_model(tab, address, connection):
    tab.go(f"{address}/index.html#best=1")
    query = """select arg_min(cell, j_per_token) as cell from leaderboard where fidelity <> 'simulated'
        group by model, boundary, fidelity, input_tokens, output_tokens"""
    assert {k.split(".")[0] for k in tab.texts("rank")} == set(connection.sql(query)["cell"].to_pylist())


def test_sorting_by_any_column(tab, address):
    tab.go(f"{address}/index.html")
    for column, title in (("mean_w", "W"), ("model", "model")):
        button = tab.page.locator(f"#sort-0-{column}")
        button.click()
        up = list(tab.texts(column).values())
        tab.page.locator(f"#sort-0-{column}").click()
        assert tab.page.locator("th[aria-sort=descending]").first.inner_text().startswith(title)
        assert list(tab.texts(column).values()) != up
        assert tab.page.evaluate("document.activeElement.id") == f"sort-0-{column}", "the focus stays"


def test_a_trial_s_traces_are_drawn(tab, address, connection, site):
    trial = trial_of(connection, "outcome = 'done' and not simulated and model = 'tiny-moe'")
    tab.go(f"{address}/index.html#view=trial&trial={trial['trial']}")
    tab.page.locator("#traces canvas").nth(2).wait_for()
    painted = tab.page.evaluate(
        """() => [...document.querySelectorAll('#traces canvas')].map(canvas => {
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            return new Set(new Uint32Array(data.buffer)).size; })"""
    )
    assert all(colours > 10 for colours in painted), "lines, grid, the shaded window"
    links = tab.page.locator("#trial a[download]")
    assert links.count() >= 4
    with tab.page.expect_download() as download:
        links.nth(1).click()
    name = links.nth(1).get_attribute("href")
    assert download.value.path().read_bytes() == (site / name).read_bytes()


def test_plots_are_drawn_with_tables_beside_them(tab, address):
    tab.go(f"{address}/index.html#view=plots")
    tab.page.locator("#plots svg[role=img]").first.wait_for()
    assert tab.page.locator("#plots svg[role=img]").count() >= 6
    heads = tab.page.locator("#plots h2").all_inner_texts()
    assert {"Power by phase", "Energy by phase", "Lever effects", "Spread between nodes", "What binds"} <= set(heads)
    tab.page.get_by_label("lever").select_option("quantization")
    tab.page.wait_for_function("location.hash.includes('lever=quantization')")
    assert tab.page.locator("#plots svg[role=img] circle, #plots svg[role=img] path").count() > 5
    assert tab.page.locator("#plots details table").count() >= 3


def test_energy_by_phase_is_that_of_the_view(tab, address, connection):
    tab.go(f"{address}/index.html#view=plots")
    section = tab.page.locator("#plots section", has=tab.page.get_by_role("heading", name="Energy by phase"))
    section.locator("summary").click()
    (wanted,) = connection.sql("from phase_energy").to_pylist()
    row = section.locator("tbody td").all_inner_texts()
    shown = [float(text.removesuffix(" %")) for text in row[1:]]
    names = ("prefill_j_per_token", "decode_j_per_token", "measured_j", "difference")
    figures = [wanted[name] for name in names]
    assert [shown[0], shown[1], shown[4], shown[5] / 100] == pytest.approx(figures, rel=6e-3)
    assert shown[2] + shown[3] == pytest.approx(wanted["isolated_j"], rel=6e-3)
    # The others have none, and it is said.
    tab.go(f"{address}/index.html#view=plots&f.model=tiny-moe")
    tab.page.get_by_text("phases: isolate").wait_for()


def test_rows_of_a_node(tab, address, connection):
    tab.go(f"{address}/index.html#f.node=node-2")
    rows = connection.sql("select distinct cell from node_results where list_contains(nodes, 'node-b')").to_pylist()
    assert {key.split(".")[0] for key in tab.texts("rank")} == {r["cell"] for r in rows}


def test_sorting_on_a_phone(tab, address):
    tab.page.set_viewport_size({"width": 390, "height": 844})
    tab.go(f"{address}/index.html#f.boundary=gpu")
    tab.page.get_by_label("sort by").select_option("W")
    up = list(tab.values("mean_w").values())
    tab.page.get_by_label("change the direction").click()
    assert list(tab.values("mean_w").values()) == up[::-1] == sorted(up, reverse=True)


def test_what_an_assumption_is_about_is_shown(tab, address):
    tab.go(f"{address}/index.html")
    assert tab.page.locator("[data-column=deployments][data-value]").count() == 0
    tab.page.get_by_label("power budget, W").fill("5000")
    assert set(tab.values("deployments").values()) != {None}
    tab.page.get_by_label("rank by").select_option("tokens within the power budget")
    ordered = list(tab.values("site_tokens_per_s").items())
    assert ordered
    tab.page.get_by_label("power budget, W").fill("")
    assert set(tab.texts("rank").values()) == {"–"}


def test_exports_hold_what_is_shown(tab, address):
    tab.go(f"{address}/index.html#f.architecture=moe&sort=mean_w")
    shown = tab.values("mean_w")
    files = {}
    for kind in ("csv", "json", "markdown"):
        with tab.page.expect_download() as download:
            tab.page.locator(f"[data-export={kind}]").click()
        files[kind] = download.value.path().read_text()
    rows = json.loads(files["json"])
    assert [r["mean_w"] for r in rows] == pytest.approx(list(shown.values()))
    assert files["csv"].count("\n") == len(shown) + 1
    assert files["markdown"].count("\n") == len(shown) + 2


def test_a_spreadsheet_runs_nothing(tab, address):
    tab.go(f"{address}/index.html#{urlencode({'search': '<img'})}")
    with tab.page.expect_download() as download:
        tab.page.locator("[data-export=markdown]").click()
    line = download.value.path().read_text().splitlines()[2]
    assert line.replace("\\|", "").count("|") == line.count(" | ") + 2, "the bar in the name ends no cell"
    assert "\\<img" in line


def test_by_keyboard_alone(tab, address):
    tab.go(f"{address}/index.html")
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.className") == "skip"
    tab.page.locator("[data-view=plots]").focus()
    tab.page.keyboard.press("Enter")
    tab.page.locator("#plots h2").first.wait_for()
    tab.page.go_back()
    tab.page.locator("#groups table").first.wait_for()


def test_simulated_rows_look_it(tab, warehouse, built, tmp_path):
    folder = published(warehouse, tmp_path / "with", built, simulated=True, sql=False, traces=False)
    tab.go(f"file://{folder}/index.html")
    tab.page.get_by_text("They are not measurements").wait_for()
    row = tab.page.locator("tr.simulated")
    assert "made-by-simulator" in row.inner_text()
    assert "simulated" in row.inner_text()


def test_print_has_every_row_and_the_assumptions_on_white_paper(tab, address):
    tab.page.emulate_media(color_scheme="dark")
    tab.go(f"{address}/index.html#pue=1.7&f.boundary=cpu")
    tab.page.emulate_media(media="print")
    assert tab.page.locator("#controls .panel").first.is_hidden()
    assert tab.page.locator("#groups table").first.is_visible()
    assert "PUE 1.7; utilisation 1; only boundary cpu" in tab.page.locator("#given").inner_text()
    assert tab.page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


@pytest.mark.parametrize(("theme", "width"), [("dark", 1360), ("light", 390)])
def test_nothing_is_cut_off(tab, address, theme, width):
    tab.page.set_viewport_size({"width": width, "height": 844})
    tab.page.emulate_media(color_scheme=theme)
    for view in VIEWS:
        tab.go(f"{address}/index.html#view={view}")
        tab.loaded()
        tab.page.locator(f"[data-part={view}] :is(svg, table, p)").first.wait_for()
        wide = tab.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{view} is {wide} px wider than the screen"
    background = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(20, 23, 26)") is (theme == "dark")
