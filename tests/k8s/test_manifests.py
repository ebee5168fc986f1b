"""Every overlay renders, fits the schemas of Kubernetes and KubeRay, and forbids what it should."""

import re
import shlex
import sys
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parent))
import rendered

from joulemark.orchestrator.cli import cli
from joulemark.orchestrator.ray_environment import OF_A_CLUSTER, SETTINGS
from joulemark.workloads.site import load_site
from joulemark.workloads.sweep import load_sweep

KUBERNETES = "1.35"
PRIVILEGED = "host-meters"


@pytest.fixture(scope="module", params=rendered.OVERLAYS)
def overlay(request):
    return rendered.render(rendered.K8S / "overlays" / request.param)


def of_kind(objects, kind):
    return [o for o in objects if o["kind"] == kind]


def test_there_is_one_object_of_a_name(overlay):
    names = [(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]) for o in overlay]
    assert len(names) == len(set(names)) > 5


def test_objects_fit_the_schemas_of_kubernetes_and_kuberay(overlay):
    for thing in overlay:
        if thing["apiVersion"] == "ray.io/v1":
            jsonschema.validate(thing, rendered.ray_schema(thing["kind"]) | {"additionalProperties": True})
        else:
            kubernetes_validate.validate(thing, KUBERNETES, strict=True)


def test_a_wrong_field_would_be_found():
    (cluster,) = of_kind(rendered.render(rendered.K8S / "overlays" / "cluster"), "RayCluster")
    cluster["spec"]["workerGroupSpecs"][0]["template"]["spec"]["tolerationz"] = []
    with pytest.raises(jsonschema.ValidationError, match="tolerationz"):
        jsonschema.validate(cluster, rendered.ray_schema("RayCluster"))


def test_only_the_meters_of_the_hosts_are_privileged(overlay):
    for thing in overlay:
        for name, labels, pod in rendered.pods(thing):
            meters = labels["app.kubernetes.io/name"] == PRIVILEGED
            assert (thing["metadata"]["namespace"] == "joulemark-meters") == meters, name
            assert not any(pod.get(key) for key in ("hostNetwork", "hostPID", "hostIPC")), name
            assert pod["automountServiceAccountToken"] is False, name
            if meters:
                continue
            assert not [v for v in pod.get("volumes", ()) if "hostPath" in v], name
            assert pod["securityContext"]["runAsNonRoot"] is True, name
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, name
            for container in pod["containers"]:
                assert container["securityContext"] == {
                    "allowPrivilegeEscalation": False,
                    "capabilities": {"drop": ["ALL"]},
                }, name


def test_the_privileged_namespace_holds_the_meters_only(overlay):
    levels = {
        n["metadata"]["name"]: n["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
        for n in of_kind(overlay, "Namespace")
    }
    assert levels.pop("joulemark") == "restricted"
    assert levels in ({}, {"joulemark-meters": "privileged"})
    homes = {o["metadata"].get("namespace") for o in overlay} - {None}
    assert homes == {"joulemark", *levels}


def test_images_are_pinned_and_containers_bounded(overlay):
    for thing in overlay:
        for name, _, pod in rendered.pods(thing):
            for container in (*pod["containers"], *pod.get("initContainers", ())):
                assert re.search(r":v?\d+\.\d+\.\d+$", container["image"]), name
                assert {"cpu", "memory"} <= container["resources"]["limits"].keys(), name
                assert {"cpu", "memory"} <= container["resources"]["requests"].keys(), name


def test_no_secret_stands_in_plain_text(overlay):
    assert of_kind(overlay, "Secret") == []
    for thing in overlay:
        for name, _, pod in rendered.pods(thing):
            for variable in (v for c in pod["containers"] for v in c.get("env", ())):
                assert "value" not in variable or not re.search("KEY|TOKEN|SECRET|PASSWORD", variable["name"]), name
        for key in thing.get("data", {}):
            assert not re.search("KEY|TOKEN|SECRET|PASSWORD", key)


def test_ray_asks_for_a_token_and_the_head_takes_no_work(overlay):
    clusters = [o["spec"] for o in of_kind(overlay, "RayCluster")]
    clusters += [o["spec"]["rayClusterSpec"] for o in of_kind(overlay, "RayJob")]
    assert len(clusters) == 1
    for cluster in clusters:
        assert cluster["authOptions"] == {"mode": "token"}
        assert {"num-cpus": "0", "num-gpus": "0"}.items() <= cluster["headGroupSpec"]["rayStartParams"].items()
        assert cluster["workerGroupSpecs"]


def test_ray_is_set_as_everywhere_else(overlay):
    (ray,) = (c for c in of_kind(overlay, "ConfigMap") if c["metadata"]["name"] == "ray")
    assert ray["data"] | {"RAY_AUTH_MODE": "token"} == SETTINGS | OF_A_CLUSTER
    for thing in overlay:
        for name, labels, pod in rendered.pods(thing):
            if labels.get("joulemark/role") in ("head", "engines", "cpu"):
                assert {"configMapRef": {"name": "ray"}} in pod["containers"][0]["envFrom"], name


def test_nothing_comes_in_but_what_is_named(overlay):
    policies = of_kind(overlay, "NetworkPolicy")
    closed = [p for p in policies if p["metadata"]["namespace"] == "joulemark" and p["spec"]["podSelector"] == {}]
    assert [(p["spec"]["policyTypes"], "ingress" in p["spec"], "egress" in p["spec"]) for p in closed] == [
        (["Ingress", "Egress"], False, False)
    ]
    for policy in policies:
        for rule in policy["spec"].get("ingress", ()):
            assert all(source.get("podSelector") for source in rule["from"]), policy["metadata"]["name"]
    covered = {"app.kubernetes.io/name": "joulemark"}
    for thing in overlay:
        for name, labels, _ in rendered.pods(thing):
            assert covered.items() <= labels.items() or labels["app.kubernetes.io/name"] == PRIVILEGED, name


def test_what_pods_mount_is_there(overlay):
    there = {(o["kind"], o["metadata"]["name"]) for o in overlay}
    for thing in overlay:
        for name, _, pod in rendered.pods(thing):
            for volume in pod.get("volumes", ()):
                if "configMap" in volume:
                    assert ("ConfigMap", volume["configMap"]["name"]) in there, name
                if "persistentVolumeClaim" in volume:
                    assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in there, name
            mounted = {m["name"] for c in pod["containers"] for m in c.get("volumeMounts", ())}
            assert mounted == {v["name"] for v in pod.get("volumes", ())}, name


def test_the_sweep_and_the_site_are_read_by_joulemark(overlay, tmp_path):
    (place,) = (c for c in of_kind(overlay, "ConfigMap") if c["metadata"]["name"] == "place")
    (tmp_path / "site.yaml").write_text(place["data"]["site.yaml"])
    assert load_site(tmp_path / "site.yaml").name == "kubernetes"
    jobs = of_kind(overlay, "RayJob")
    for job in jobs:
        (given,) = (c for c in of_kind(overlay, "ConfigMap") if c["metadata"]["name"] == "sweep")
        (tmp_path / "sweep.yaml").write_text(given["data"]["sweep.yaml"])
        assert load_sweep(tmp_path / "sweep.yaml").measure.repeats > 0
        words = shlex.split(job["spec"]["entrypoint"])
        assert words[:2] == ["joulemark", "run"]
        helped = CliRunner().invoke(cli, ["run", "--help"]).stdout
        assert all(option in helped for option in words if option.startswith("--"))
        assert job["spec"]["shutdownAfterJobFinishes"] is True
        assert job["spec"]["backoffLimit"] == 0


def test_gpu_groups_differ_in_their_accelerator_only():
    texts = {}
    for name, label, product in (("h100", "H100", "NVIDIA-H100-80GB-HBM3"), ("h200", "H200", "NVIDIA-H200")):
        text = (rendered.K8S / "components" / name / "group.yaml").read_text()
        assert label in text
        assert product in text
        texts[name] = text.replace(product, "PRODUCT").replace(label, "LABEL").replace(name, "NAME")
    assert texts["h100"] == texts["h200"]


def test_the_quickstart_is_what_the_overlay_tries():
    ours = rendered.K8S.parent / "workloads" / "examples" / "quickstart.yaml"
    tried = rendered.K8S / "overlays" / "try" / "sweep.yaml"
    assert yaml.safe_load(tried.read_text()) == yaml.safe_load(ours.read_text())
