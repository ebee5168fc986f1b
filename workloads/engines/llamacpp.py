"""llama.cpp's own server, from the xllamacpp wheel: GGUF files on the CPU.

The engine's environment does not hold joulemark, so that the command starts with a placeholder in place of the
launcher's path; the agent fills it in. Engine arguments are llama.cpp's parameter names (``n_batch``,
``cpuparams.poll``); ``threads`` and ``context`` (tokens per slot) replace what joulemark would set.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Deployment, Scalar
from joulemark.workloads.engines.adapter import LAUNCHER, LOG, ApiTraits, Command, FailurePattern, StartFacts
from joulemark.workloads.engines.common import check_commons, common_name
from joulemark.workloads.engines.failures import LLAMACPP
from joulemark.workloads.engines.options import flags, merged, refuse_reserved, text, variables
from joulemark.workloads.engines.readback import differences, present
from joulemark.workloads.engines.translate import llamacpp_options
from joulemark.workloads.precision import kv_words, quantizations_of

"""Stands for the path of the launcher script, which depends on the node."""

_VERSION = re.compile(r"^running xllamacpp (\S+)$", re.MULTILINE)
_LAUNCHER_OPTIONS = ("threads", "context")
_RESERVED = {
    "model.path": "the model axis names the model",
    "model": "the model axis names the model",
    "host": "joulemark decides where the engine listens",
    "hostname": "joulemark decides where the engine listens",
    "hostnames": "joulemark decides where the engine listens",
    "port": "joulemark decides where the engine listens",
    "alias": "joulemark names the model",
    "model_alias": "joulemark names the model",
    "n_parallel": "use the concurrency axis",
    "slots": "use the concurrency axis",
    "n_ctx": "write 'context', the tokens per slot",
    "cache_type_k": "use the kv_type axis",
    "cache_type_v": "use the kv_type axis",
}


class LlamaCpp:
    """The embedded engine: small, quick to start, needs no GPU."""

    name: str = "llamacpp"
    weights_format: str = "gguf"
    api: ApiTraits = ApiTraits(
        ready_path="/health",
        metrics_path="/metrics",
        reported_paths=("/props",),
        body={"cache_prompt": False, "timings_per_token": True, "stream_options": {"include_usage": True}},
        fixed_length={"ignore_eos": True},
        reuse_connections=False,
        takes_key=True,
    )
    failures: tuple[FailurePattern, ...] = LLAMACPP
    stop_grace_s: float = 10.0
    ready_timeout_s: float = 120.0
    quantizations: tuple[str, ...] = quantizations_of("gguf")
    kv_types: tuple[str, ...] = tuple(kv_words("llamacpp"))
    default_kv_type: str = "f16"
    # Each slot has a cache of its own for the whole context, which is there from the start.
    default_slots: int = 32

    def argument_name(self, key: str) -> str:
        """Return an argument as llama.cpp spells it: with underscores."""
        return key if key.startswith("env.") else common_name(key) or key.lstrip("-").replace("-", "_")

    def refusal(self, deployment: Deployment) -> str | None:
        """Return why llama.cpp cannot be asked for ``deployment``, or None."""
        model = deployment.model
        if model.source == "hub" or (model.source == "path" and not model.location.endswith(".gguf")):
            return "llama.cpp reads GGUF files: name the path of one as the model"
        if not deployment.on_cpu:
            return "llama.cpp is run on the CPU only"
        if deployment.parallel.devices > 1 or deployment.parallel.expert:
            return "llama.cpp runs on one device"
        return None

    def command(self, deployment: Deployment, facts: StartFacts) -> Command:
        """Return the command line. Raises BadInput where llama.cpp has no word for what is asked."""
        args = deployment.engine.args
        refuse_reserved(args, _RESERVED, self.name)
        check_commons(args, self.name)
        refusal = self.refusal(deployment)
        if refusal is not None:
            raise BadInput(refusal)
        options = merged(
            {
                "model": facts.model_path,
                "host": facts.host,
                "port": facts.port,
                "alias": facts.served_name,
                "slots": facts.slots,
                "threads": facts.threads,
                "context": facts.context_tokens,
            },
            {key: args[key] for key in _LAUNCHER_OPTIONS if key in args},
        )
        return Command(
            (LAUNCHER, *flags(options, negatable=False), *_settings(deployment, args)),
            {**_environment(options, args), **({"JOULEMARK_API_KEY": facts.api_key} if facts.api_key else {})},
        )

    def engine_state(self, samples: Mapping[str, float]) -> dict[str, float | None]:
        """Return the columns of ``engine_state``; the server does not tell the fill of its KV cache."""
        return {
            "running": samples.get("llamacpp:requests_processing"),
            "waiting": samples.get("llamacpp:requests_deferred"),
            "kv_cache_usage": None,
            "prompt_tokens_total": samples.get("llamacpp:prompt_tokens_total"),
            "generation_tokens_total": samples.get("llamacpp:tokens_predicted_total"),
            "preemptions_total": None,
            "draft_tokens_total": None,
            "accepted_tokens_total": None,
            "flops_total": None,
            "read_bytes_total": None,
        }

    def reported(self, documents: Mapping[str, Any]) -> dict[str, Any]:
        """Return precision, slots and context from ``/props``, the version of the wheel from the log."""
        props = documents.get("/props") or {}
        found = {key: props.get(key) for key in ("model_ftype", "model_path", "total_slots", "build_info")}
        found["context_tokens"] = (props.get("default_generation_settings") or {}).get("n_ctx")
        version = _VERSION.search(str(documents.get(LOG) or ""))
        found["version"] = version[1] if version else None
        return present(found)

    def mismatches(self, deployment: Deployment, reported: Mapping[str, Any]) -> list[str]:
        """Return a sentence where the version, or the file's precision, is not the one asked for."""
        said = differences({"version": deployment.engine.version}, reported)
        ftype = reported.get("model_ftype")
        if ftype is not None and quantization_of_ftype(ftype) != deployment.quantization:
            said.append(f"asked for {deployment.quantization}, the GGUF file holds {ftype}")
        return said


def quantization_of_ftype(ftype: str) -> str:
    """Return our name for a file type as llama.cpp prints it: ``all F32``, ``F16``, ``Q4_K - Medium``."""
    word = re.sub(r"\(guessed\)|\ball\b|\bmostly\b", "", ftype).strip().lower()
    base, _, size = word.partition(" - ")
    return f"{base}_{size[0]}" if size in ("small", "medium", "large") else base


def _settings(deployment: Deployment, args: Mapping[str, Scalar]) -> tuple[str, ...]:
    settings: dict[str, Scalar] = {}
    if deployment.kv_type != "f16":
        kind = kv_words("llamacpp")[deployment.kv_type]
        settings = {"cache_type_k": kind, "cache_type_v": kind}
    own = {key: value for key, value in args.items() if key not in _LAUNCHER_OPTIONS and common_name(key) is None}
    settings |= merged(llamacpp_options(args), own)
    return tuple(word for key, value in settings.items() for word in ("--set", f"{key}={text(value)}"))


def _environment(options: Mapping[str, Scalar], args: Mapping[str, Scalar]) -> dict[str, str]:
    return {"OMP_NUM_THREADS": text(options["threads"]), **variables(args)}
