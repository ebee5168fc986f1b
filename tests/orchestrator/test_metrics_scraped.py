"""A real Prometheus reads a real Ray, answers what the dashboard asks, and judges by the alerts' rules."""

import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "k8s"))
sys.path.insert(0, str(Path(__file__).parent))
from prometheus import program
from ray_page import real_ray

from joulemark.agents.http import free_port
from joulemark.orchestrator.metrics import METRICS

FOLDER = Path(__file__).parents[2] / "k8s" / "components" / "observability"
BOARD = json.loads((FOLDER / "dashboard.json").read_text())
RULES = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["spec"]["groups"]
SHOWN = {p["title"]: t["expr"] for p in BOARD["panels"] for t in p["targets"]}
PATIENCE_S = 120.0


class Prometheus:
    """One that listens on a port of this machine."""

    def __init__(self, port):
        self.address = f"http://127.0.0.1:{port}"

    def get(self, path, **asked):
        """Return its answer's data. A question that it refuses is an error."""
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode(asked)}"
        with urllib.request.urlopen(url, timeout=10) as answer:
            return json.load(answer)["data"]

    def ask(self, expression):
        """Return what it answers to a panel of the dashboard, with the variable of all sweeps: [(labels, value)]."""
        found = self.get("query", query=expression.replace("$sweep", ".*"))["result"]
        return [(one["metric"], float(one["value"][1])) for one in found]

    def wait(self, ready):
        """Wait until something holds."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                if ready():
                    return
            except OSError:
                # It does not listen yet.
                time.sleep(0.2)
            time.sleep(0.3)
        pytest.fail(f"Prometheus has not seen what it should within {PATIENCE_S:.0f} s")


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory):
    """A Prometheus that has read every metric at least twice."""
    binary, folder, own = program("prometheus"), tmp_path_factory.mktemp("prometheus"), free_port()
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": RULES}))
    command = [binary, "--config.file=prometheus.yaml", "--storage.tsdb.path=data"]
    command += [f"--web.listen-address=127.0.0.1:{own}", "--log.level=warn"]
    with real_ray() as port:
        scraped = {"job_name": "joulemark", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}
        every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
        settings = {"global": every, "rule_files": ["rules.yaml"], "scrape_configs": [scraped]}
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
        with (
            (folder / "log").open("wb") as log,
            subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process,
        ):
            try:
                asked = Prometheus(own)
                asked.wait(lambda: all(asked.ask(f"count_over_time({m.exported}[1m]) > 1") for m in METRICS))
                yield asked
            finally:
                process.terminate()
                process.wait(30)


@pytest.mark.parametrize("panel", SHOWN)
def test_each_panel_has_an_answer(prometheus, panel):
    assert prometheus.ask(SHOWN[panel]) != []


def test_panels_show_what_is(prometheus):
    def shown(panel):
        return {tuple(sorted(labels.values())): value for labels, value in prometheus.ask(SHOWN[panel])}

    assert shown("Trials that are valid") == {("s",): 5 / 8}
    assert shown("Power")["bright",] == 200.0
    assert ("dark",) not in shown("Power"), "a reading that is missing is no line"
    assert shown("Nodes") == {("idle",): 1, ("working",): 1, ("lost",): 0}
    assert shown("Attempts by verdict") == {("valid",): 3, ("invalid",): 1, ("failed",): 1}
    assert shown("Failed attempts by class, in an hour") == {("out_of_memory",): 1}
    assert shown("Joules per output token, for the eye")["bright",] == 5.0


def test_a_question_that_is_none_is_refused(prometheus):
    with pytest.raises(urllib.error.HTTPError, match="400"):
        prometheus.ask("sum by (sweep")


def test_the_rules_are_judged_without_an_error(prometheus):
    def rules():
        return [r for g in prometheus.get("rules")["groups"] for r in g["rules"]]

    prometheus.wait(lambda: all(r["health"] != "unknown" for r in rules()))
    assert {r["name"]: (r["health"], r.get("lastError", "")) for r in rules()} == {
        r["alert"]: ("ok", "") for g in RULES for r in g["rules"]
    }


def test_a_node_without_a_meter_is_about_to_be_told(prometheus):
    def of_power():
        alerts = prometheus.get("alerts")["alerts"]
        return {a["labels"]["node"] for a in alerts if a["labels"]["alertname"] == "JoulemarkPowerUnknown"}

    prometheus.wait(lambda: "dark" in of_power())
    assert "bright" not in of_power()
