"""Results of lm-evaluation-harness (`results_<time>.json`): scores, into `quality`."""

from __future__ import annotations

from typing import Any

from joulemark.warehouse.errors import BadInput
from joulemark.warehouse.importers.format import Document, Format, Found, Row, Said, text, whole

PREFERRED = (
    "exact_match,strict-match",
    "exact_match,flexible-extract",
    "prompt_level_strict_acc,none",
    "pass@1,create_test",
    "acc_norm,none",
    "acc,none",
)
"""The metric that counts under the task's own name; others are there as `task/metric`."""
PRECISIONS = {"bfloat16": "bf16", "float16": "fp16", "float32": "fp32"}


def fits(document: Document) -> bool:
    """Return whether a document is such a result."""
    if not isinstance(document, dict) or not isinstance(document.get("results"), dict):
        return False
    tasks = document["results"].values()
    return bool(tasks) and all(isinstance(t, dict) for t in tasks) and any("," in k for t in tasks for k in t)


def read(document: Document, said: Said) -> Found:
    """Return one score per task and metric that is a share; a group of tasks is left out, its tasks are there.

    Raises BadInput where neither the file nor the user says which model, or which precision was scored.
    """
    head = {
        "model": said.model or text(document.get("model_name")) or text(_argument(document, "pretrained")),
        "revision": said.revision or text(document.get("model_revision")) or text(_argument(document, "revision")),
        "quantization": said.quantization or _precision(document),
        "kv_type": said.kv_type or "auto",
        "engine": said.engine or text(document.get("model_source")) or text(_config(document).get("model")),
    }
    for name in ("model", "quantization"):
        if head[name] is None:
            raise BadInput(f"the file does not say the {name} that was scored; give --{name}")
    scores, left_out = [], []
    groups = document.get("groups")
    for task, metrics in document["results"].items():
        if isinstance(groups, dict) and task in groups:
            left_out.append(f"{task}: a group; its tasks are there")
            continue
        found, odd = _scores(document, task, metrics)
        scores += [head | row for row in found]
        left_out += odd
    return Found((), tuple(scores), tuple(left_out))


def _scores(document: Document, task: str, metrics: dict[str, Any]) -> tuple[list[Row], list[str]]:
    higher = _of(document.get("higher_is_better"), task)
    samples = whole(_of(_of(document.get("n-samples"), task), "effective"))
    values = {k: v for k, v in metrics.items() if "," in k and not k.split(",")[0].endswith("_stderr")}
    shares, left_out = {}, []
    for key, value in values.items():
        good = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
        if good and _of(higher, key.split(",")[0]) is not False:
            shares[key] = float(value)
        else:
            left_out.append(f"{task}/{key}: {value!r} is no share of tasks solved")
    main = next((k for k in PREFERRED if k in shares), next(iter(shares), None))
    rows = [
        {"task": task if key == main else f"{task}/{key}", "metric": key, "score": score, "samples": samples}
        for key, score in shares.items()
    ]
    return rows, left_out


def _precision(document: Document) -> str | None:
    said = _argument(document, "quantization") or _argument(document, "dtype") or _config(document).get("model_dtype")
    name = text(said)
    if name in (None, "auto"):
        return None
    return PRECISIONS.get(str(name).removeprefix("torch."), name)


def _config(document: Document) -> dict[str, Any]:
    config = document.get("config")
    return config if isinstance(config, dict) else {}


def _argument(document: Document, name: str) -> object:
    """Return one of the model's arguments, which are a text of a=b,c=d or an object."""
    arguments = _config(document).get("model_args")
    if isinstance(arguments, str):
        pairs = (part.partition("=") for part in arguments.split(","))
        return next((value for key, _, value in pairs if key.strip() == name), None)
    return _of(arguments, name)


def _of(value: object, key: str) -> object:
    return value.get(key) if isinstance(value, dict) else None


FORMAT = Format("lm-eval", "lm-evaluation-harness results", fits, read, "results_2026-01-01T00-00-00.json")
