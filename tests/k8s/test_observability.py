"""Dashboard and alerts name nothing that is not exported, and Prometheus reads the metrics and nothing else."""

import copy
import functools
import json
import operator
import os
import re
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))
import rendered

from joulemark.orchestrator.metrics import METRICS, OUTCOMES, STATES

FOLDER = rendered.K8S / "components" / "observability"
TABLE = {m.exported: m for m in METRICS}
NAME = re.compile(r"\b(?:ray_)?joulemark_\w+")
SELECTOR = re.compile(r"\b(ray_joulemark_\w+)\{([^}]*)\}")
LABEL = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
GROUPED = re.compile(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)")
VALUES = {"verdict": OUTCOMES, "state": STATES}
"""What a selector may ask for, where the values are known beforehand."""


def panels():
    return json.loads((FOLDER / "dashboard.json").read_text())["panels"]


def rules():
    return [r for g in yaml.safe_load((FOLDER / "alerts.yaml").read_text())["spec"]["groups"] for r in g["rules"]]


def expressions():
    shown = [t["expr"] for p in panels() for t in p["targets"]]
    board = json.loads((FOLDER / "dashboard.json").read_text())
    asked = [v["query"] for v in board["templating"]["list"] if v["type"] == "query"]
    return [*shown, *asked, *(r["expr"] for r in rules())]


def faults(expression):
    """Return what an expression names that is not there."""
    names = NAME.findall(expression)
    found = [name for name in names if name not in TABLE] or ([] if names else ["no metric"])
    known = [TABLE[name] for name in names if name in TABLE]
    for name, labels in SELECTOR.findall(expression):
        for label, value in LABEL.findall(labels):
            if name in TABLE and label not in TABLE[name].tags:
                found.append(f"{name} has no {label}")
            if label in VALUES and value not in VALUES[label]:
                found.append(f"{label} is never {value}")
    for labels in GROUPED.findall(expression):
        for label in (word.strip() for word in labels.split(",")):
            found += [f"{m.exported} has no {label}" for m in known if label not in m.tags]
    return found


@pytest.mark.parametrize("expression", expressions())
def test_what_is_asked_for_is_exported(expression):
    assert faults(expression) == []


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("sum(ray_joulemark_node_power)", "ray_joulemark_node_power"),
        ("sum(joulemark_node_power_watts)", "joulemark_node_power_watts"),
        ("sum by (lane) (ray_joulemark_node_power_watts)", "ray_joulemark_node_power_watts has no lane"),
        ('ray_joulemark_node_power_watts{lane="1"}', "ray_joulemark_node_power_watts has no lane"),
        ('ray_joulemark_sweep_nodes{state="asleep"}', "state is never asleep"),
        ("up == 0", "no metric"),
    ],
)
def test_what_is_not_exported_is_found(expression, fault):
    assert faults(expression) == [fault]


def test_everything_exported_is_shown():
    named = {name for p in panels() for t in p["targets"] for name in NAME.findall(t["expr"])}
    assert named == set(TABLE)


def test_texts_name_labels_that_are_left():
    """A label that was aggregated away would be an empty place in the text."""
    texts = [(t["expr"], re.findall(r"{{(\w+)}}", t["legendFormat"])) for p in panels() for t in p["targets"]]
    texts += [(r["expr"], re.findall(r"\$labels\.(\w+)", r["annotations"]["summary"])) for r in rules()]
    assert len(texts) > 10
    for expression, labels in texts:
        outer = re.match(r"\w+ by \(([^)]*)\)", expression)
        left = outer[1].split(", ") if outer else TABLE[NAME.findall(expression)[0]].tags
        assert set(labels) <= set(left), expression


def test_panels_lie_beside_each_other():
    taken = set()
    for panel in panels():
        g = panel["gridPos"]
        places = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert not places & taken, panel["title"]
        assert g["x"] + g["w"] <= 24
        taken |= places
    assert len({p["id"] for p in panels()}) == len(panels())


def test_alerts_say_what_is_wrong():
    names = [r["alert"] for r in rules()]
    assert len(set(names)) == len(names) > 3
    for rule in rules():
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"]["summary"].endswith(".")


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """Return what an overlay has with the component that it does not have without."""
    folder = tmp_path_factory.mktemp("overlay")
    base, component = (os.path.relpath(path, folder.resolve()) for path in (rendered.K8S / "base", FOLDER))
    made = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "resources": [base]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump({**made, "components": [component]}))
    return {(o["kind"], o["metadata"]["name"]): o for o in rendered.render(folder)}


def test_the_component_renders(objects):
    board = objects["ConfigMap", "dashboard"]
    assert board["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(board["data"]["joulemark.json"])["panels"] == panels()
    assert objects["PrometheusRule", "joulemark"]["spec"]["groups"][0]["rules"] == rules()
    for kind, name in (("ConfigMap", "dashboard"), ("NetworkPolicy", "prometheus-to-metrics")):
        kubernetes_validate.validate(objects[kind, name], "1.35", strict=True)


@pytest.mark.parametrize("kind", ["PodMonitor", "PrometheusRule"])
def test_the_operator_knows_what_its_objects_say(kind, objects):
    jsonschema.validate(objects[kind, "joulemark"], rendered.operator_schema(kind))


@pytest.mark.parametrize(
    ("kind", "place", "value"),
    [
        ("PodMonitor", ("spec", "podMetricsEndpoints", 0, "intervall"), "15s"),
        ("PodMonitor", ("spec", "podMetricsEndpoints", 0, "interval"), "15 seconds"),
        ("PodMonitor", ("spec", "selector"), None),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "for"), "soon"),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "summary"), "A node is lost."),
        ("PrometheusRule", ("spec", "groups", 0, "rules", 0, "labels", "severity"), 1),
    ],
)
def test_what_the_operator_does_not_know_is_found(kind, place, value, objects):
    changed = copy.deepcopy(objects[kind, "joulemark"])
    *way, last = place
    functools.reduce(operator.getitem, way, changed)[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(changed, rendered.operator_schema(kind))


def test_prometheus_reads_the_metrics_of_rays_pods_and_nothing_else(objects):
    policy = objects["NetworkPolicy", "prometheus-to-metrics"]["spec"]
    monitor = objects["PodMonitor", "joulemark"]["spec"]
    (rule,) = policy["ingress"]
    (source,) = rule["from"]
    assert source["podSelector"]["matchLabels"] == {"app.kubernetes.io/name": "prometheus"}
    (endpoint,) = monitor["podMetricsEndpoints"]
    (port,) = rule["ports"]
    assert policy["podSelector"]["matchExpressions"] == monitor["selector"]["matchExpressions"]
    head = objects["RayCluster", "joulemark"]["spec"]["headGroupSpec"]["template"]
    assert monitor["selector"]["matchLabels"].items() <= head["metadata"]["labels"].items()
    ports = {p["name"]: p["containerPort"] for p in head["spec"]["containers"][0]["ports"]}
    assert ports[endpoint["port"]] == port["port"]
