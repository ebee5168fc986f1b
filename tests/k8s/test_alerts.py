"""Prometheus takes the rules and the dashboard's expressions, and each alert fires when it should and only then."""

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
import rendered
from prometheus import program

FOLDER = rendered.K8S / "components" / "observability"
RULES = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["spec"]["groups"]
ALERTS = [r["alert"] for g in RULES for r in g["rules"]]
BOARD = json.loads((FOLDER / "dashboard.json").read_text())
SHOWN = [t["expr"] for p in BOARD["panels"] for t in p["targets"]]
AS_GRAFANA_WRITES = "(one|other)"
"""A variable of which two values are chosen."""


def promtool(*arguments, folder):
    return subprocess.run(
        [program("promtool"), *map(str, arguments)], cwd=folder, capture_output=True, text=True, check=False
    )


def check(groups, folder):
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    return promtool("check", "rules", "rules.yaml", folder=folder)


def recorded(expressions):
    rules = [
        {"record": f"shown:{n}", "expr": e.replace("$sweep", AS_GRAFANA_WRITES)} for n, e in enumerate(expressions)
    ]
    return [{"name": "shown", "rules": rules}]


def test_prometheus_takes_the_rules(tmp_path):
    done = check(RULES, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(ALERTS)} rules found" in done.stdout


def test_prometheus_takes_what_the_dashboard_asks(tmp_path):
    assert len(SHOWN) > 10
    assert "$" not in "".join(e.replace("$sweep", "") for e in SHOWN), "no other variable"
    done = check(recorded(SHOWN), tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(SHOWN)} rules found" in done.stdout


@pytest.mark.parametrize("wrong", ["sum by (sweep ray_joulemark_sweep_nodes", "rate(x)", "max(up{sweep=~one})"])
def test_what_is_no_expression_is_refused(wrong, tmp_path):
    assert check(recorded([*SHOWN, wrong]), tmp_path).returncode != 0


@dataclass(frozen=True)
class Case:
    """Series with a value a minute, in which minutes an alert is there, with which labels, and in which it is not.

    It is looked at between two values, as a real Prometheus does: there rate() and its like must guess.
    """

    name: str
    alert: str
    series: dict
    loud: dict
    quiet: tuple = ()


def restarts(values, node="n1"):
    return {f'ray_joulemark_node_sampler_restarts{{sweep="s",node="{node}"}}': values}


def power(values, node="n1"):
    return {f'ray_joulemark_node_power_watts{{sweep="s",node="{node}"}}': values}


def nodes(values, state="lost", pod="head"):
    return {f'ray_joulemark_sweep_nodes{{sweep="s",state="{state}",pod="{pod}"}}': values}


def failures(values, kind="out_of_memory"):
    return {f'ray_joulemark_sweep_failures_total{{sweep="s",failure_class="{kind}"}}': values}


def attempts(valid, failed="0x300"):
    return {
        'ray_joulemark_sweep_attempts{sweep="s",verdict="valid"}': valid,
        'ray_joulemark_sweep_attempts{sweep="s",verdict="failed"}': failed,
    }


OF_S = {"sweep": "s"}
ON_N1 = {"sweep": "s", "node": "n1"}
OF_MEMORY = {"sweep": "s", "failure_class": "out_of_memory"}
CASES = [
    Case("a node is lost and comes back", "JoulemarkNodeLost", nodes("0x4 1x9 0x9"), {8: OF_S}, (4, 6, 16)),
    Case("none is lost", "JoulemarkNodeLost", nodes("0x30") | nodes("3x30", "idle"), {}, (10, 25)),
    Case("a node is away for a moment", "JoulemarkNodeLost", nodes("0x4 1 0x20"), {}, (5, 6, 8, 10)),
    Case(
        "a meter falls silent",
        "JoulemarkPowerUnknown",
        restarts("0x30") | power("400x9 stale"),
        {13: ON_N1},
        (9, 11),
    ),
    Case("a meter reads nothing from the start", "JoulemarkPowerUnknown", restarts("0x30"), {5: ON_N1}, (1,)),
    Case("a meter comes back", "JoulemarkPowerUnknown", restarts("0x30") | power("_x9 400x20"), {5: ON_N1}, (11, 20)),
    Case(
        "another node's meter does not stand in",
        "JoulemarkPowerUnknown",
        restarts("0x30") | power("400x30", "n2") | restarts("0x30", "n2"),
        {20: ON_N1},
        (1,),
    ),
    Case(
        "an agent that ends has no meter to miss",
        "JoulemarkPowerUnknown",
        restarts("0x5 stale") | power("400x5 stale"),
        {},
        (6, 9, 20),
    ),
    Case("a sampler dies", "JoulemarkSamplerRestarts", restarts("0x9 1x30"), {11: ON_N1, 15: ON_N1}, (9, 25)),
    Case("a sampler died long ago", "JoulemarkSamplerRestarts", restarts("2x40"), {}, (5, 30)),
    Case("a new agent counts anew", "JoulemarkSamplerRestarts", restarts("2x9 0x30"), {}, (10, 11, 15)),
    Case("two attempts fail, and that is all", "JoulemarkFailures", failures("_x4 1x9 2x60"), {}, (5, 12, 30)),
    Case("two attempts fail long after the first", "JoulemarkFailures", failures("1x59 2x4 3x60"), {}, (62, 66, 80)),
    Case(
        "three fail, the first that there are",
        "JoulemarkFailures",
        failures("_x9 1x2 2x2 3x60"),
        {17: OF_MEMORY, 35: OF_MEMORY},
        (9, 14, 60),
    ),
    Case(
        "three more fail",
        "JoulemarkFailures",
        failures("5x59 6x2 7x2 8x60"),
        {67: OF_MEMORY, 80: OF_MEMORY},
        (50, 64, 100),
    ),
    Case(
        "three fail in three ways",
        "JoulemarkFailures",
        failures("_ 1x60") | failures("_ 1x60", "engine_died") | failures("_ 1x60", "timeout"),
        {},
        (5, 20),
    ),
    Case("nothing ends for two hours", "JoulemarkNothingMeasured", attempts("1x300", "0x300"), {150: OF_S}, (60, 115)),
    Case("a trial an hour", "JoulemarkNothingMeasured", attempts("1x59 2x59 3x59 4x59"), {}, (115, 150, 200)),
    Case(
        "failed attempts are attempts",
        "JoulemarkNothingMeasured",
        attempts("1x300", "0x59 1x59 2x59 3x59"),
        {},
        (115, 150, 200),
    ),
    Case("a sweep that ended", "JoulemarkNothingMeasured", attempts("1x30 stale", "0x30 stale"), {}, (60, 130, 200)),
]


def test_each_alert_has_cases_of_both_kinds():
    assert {c.alert for c in CASES if c.loud} == set(ALERTS)
    assert {c.alert for c in CASES if not c.loud} == set(ALERTS)


def rule(alert):
    (found,) = (r for g in RULES for r in g["rules"] if r["alert"] == alert)
    return found


def expected(case, minute):
    """Return the alert as it must be at a minute: its labels, and its text with them in it."""
    if minute not in case.loud:
        return []
    labels, wanted = case.loud[minute], rule(case.alert)
    text = re.sub(r"{{ \$labels\.(\w+) }}", lambda m: labels[m[1]], wanted["annotations"]["summary"])
    text = text.replace("{{ $value }}", "1")
    return [{"exp_labels": {**labels, **wanted["labels"]}, "exp_annotations": {"summary": text}}]


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c.alert}: {c.name}")
def test_it_fires_when_it_should(case, tmp_path):
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": RULES}))
    minutes = sorted({*case.loud, *case.quiet})
    asked = [{"eval_time": f"{m}m30s", "alertname": case.alert, "exp_alerts": expected(case, m)} for m in minutes]
    test = {"interval": "1m", "alert_rule_test": asked}
    test["input_series"] = [{"series": name, "values": values} for name, values in case.series.items()]
    wanted = {"rule_files": ["rules.yaml"], "evaluation_interval": "30s", "tests": [test]}
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(wanted))
    done = promtool("test", "rules", "test.yaml", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
