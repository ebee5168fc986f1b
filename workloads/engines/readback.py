"""What an engine says that it runs, against what was asked of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from joulemark.workloads.cell import Deployment, ModelRef, Scalar
from joulemark.workloads.models.catalogue import needs_no_hub
from joulemark.workloads.precision import QUANTIZATIONS, UNQUANTIZED

_SNAPSHOT = re.compile(r"/snapshots/([0-9a-f]{40})(?:/|$)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def differences(wanted: Mapping[str, Scalar], reported: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each wanted value that is reported otherwise; what is not reported says nothing."""
    return [
        f"asked for {key} {_shown(want)}, the engine says {_shown(reported[key])}"
        for key, want in wanted.items()
        if want is not None and key in reported and _plain(reported[key]) != _plain(want)
    ]


def model_difference(model: ModelRef, path: object) -> list[str]:
    """Return a sentence where the engine names another model. Where models are generated, their folder is ours."""
    if path is None or model.source == "generated" or needs_no_hub(model):
        return []
    # Engines that work offline put the folder of the hub's cache in place of the id.
    cached = f"models--{model.location.replace('/', '--')}/" in str(path) and model.source == "hub"
    return (
        []
        if cached or str(path) == model.location
        else [f"asked for the model {model.location}, the engine says {path}"]
    )


def commit_of(path: object) -> str | None:
    """Return the commit of the hub that a folder of its cache holds, None where the path tells of none."""
    match = _SNAPSHOT.search(str(path))
    return match[1] if match else None


def precision_difference(deployment: Deployment, engine: str, method: object, *, told: bool) -> list[str]:
    """Return a sentence where the engine's own word for how weights are quantized is none of those for what was asked.

    ``method`` is that word, None where it has none; ``told`` says that the engine would have told of one.
    """
    needs = QUANTIZATIONS[deployment.quantization].engines.get(engine)
    asked = deployment.engine.args.get("quantization")
    if needs is None or not told:
        return []
    if asked is not None:
        # Engines put a faster kernel's name in place of a format's: awq_marlin for awq.
        families = [p.engines[engine].methods for p in QUANTIZATIONS.values() if engine in p.engines]
        same = method == asked or any(asked in names and method in names for names in families)
        return [] if same else [_otherwise(asked, method)]
    same = method is None if deployment.quantization in UNQUANTIZED else method in needs.methods
    return [] if same else [_otherwise(deployment.quantization, method)]


def labels(page: str, metric: str) -> dict[str, str]:
    """Return the labels of the first sample of ``metric`` on a Prometheus page, empty where there is none."""
    line = next((line for line in page.splitlines() if line.startswith(f"{metric}{{")), "")
    return {match[1]: match[2] for match in _LABEL.finditer(line)}


def word(text: str) -> Scalar:
    """Return a printed Python value: a number, truth, None or the text without quotes."""
    text = text.strip().strip("'\"")
    if text in ("None", ""):
        return None
    if text in ("True", "False"):
        return text == "True"
    digits = text.replace(",", "")
    if re.fullmatch(r"-?\d+", digits):
        return int(digits)
    return float(text) if re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", text) else text


def present(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is there of ``found``."""
    return {key: value for key, value in found.items() if value is not None}


def _otherwise(asked: object, method: object) -> str:
    return f"asked for quantization {asked}, the engine says {method or 'none'}"


def _shown(value: object) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


def _plain(value: object) -> str:
    """``0.32.0+cpu`` is version 0.32.0, ``torch.bfloat16`` is bfloat16, 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).partition("+")[0].removeprefix("torch.")
