"""What SGLang says of itself: the keys of ``/server_info`` and ``/model_info`` that matter, never its secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joulemark.workloads.cell import Deployment, Scalar
from joulemark.workloads.engines.common import commons
from joulemark.workloads.engines.readback import commit_of, differences, model_difference, precision_difference, present
from joulemark.workloads.engines.sglang_command import DTYPES, parallel_sizes
from joulemark.workloads.engines.translate import sglang_options
from joulemark.workloads.precision import kv_words

_REPORTED = (
    "version",
    "dtype",
    "quantization",
    "kv_cache_dtype",
    "context_length",
    "max_running_requests",
    "max_total_num_tokens",
    "max_prefill_tokens",
    "tp_size",
    "pp_size",
    "dp_size",
    "attn_dp_size",
    "ep_size",
    "nnodes",
    "attention_backend",
    "prefill_attention_backend",
    "decode_attention_backend",
    "sampling_backend",
    "moe_runner_backend",
    "moe_a2a_backend",
    "chunked_prefill_size",
    "mem_fraction_static",
    "disable_radix_cache",
    "disable_overlap_schedule",
    "cuda_graph_backend_decode",
    "cuda_graph_backend_prefill",
    "speculative_algorithm",
    "speculative_num_draft_tokens",
    "load_format",
    "page_size",
    "device",
    "revision",
)
"""Keys of ``/server_info`` that are kept. Not all of it: it holds secrets and the whole command line."""
_SAME_WORDS = {"kv_cache_dtype": {"bf16": "bfloat16"}}
"""Where SGLang answers with another word for the same."""


def reported(documents: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is there, flat."""
    info, model = documents.get("/server_info") or {}, documents.get("/model_info") or {}
    found = {key: info.get(key) for key in _REPORTED}
    found |= {"model_path": model.get("model_path"), "model_type": model.get("model_type")}
    found["model_commit"] = commit_of(model.get("model_path"))
    return {key: value for key, value in present(found).items() if isinstance(value, str | int | float | bool)}


def mismatches(deployment: Deployment, found: Mapping[str, Any]) -> list[str]:
    """Return a sentence for all that is otherwise than asked, in what both sides know."""
    args = deployment.engine.args
    # SGLang answers with the names of its arguments, so that those can be compared as they are.
    own = {key.replace("-", "_"): value for key, value in {**sglang_options(args), **args}.items()}
    asked: dict[str, Scalar] = {key: value for key, value in own.items() if key in _REPORTED and key != "quantization"}
    wanted: dict[str, Scalar] = {
        **asked,
        **_spelled(parallel_sizes(deployment), found),
        "version": deployment.engine.version,
        "dtype": DTYPES.get(deployment.quantization, asked.get("dtype")),
        "kv_cache_dtype": None if deployment.kv_type == "auto" else kv_words("sglang").get(deployment.kv_type),
        "revision": deployment.model.revision,
        "load_format": "dummy" if deployment.model.weights == "dummy" else asked.get("load_format"),
        "disable_radix_cache": _switched_off(args, asked),
        "device": "cpu" if deployment.on_cpu else None,
    }
    plain = {
        key: _SAME_WORDS.get(key, {}).get(value, value) if isinstance(value, str) else value
        for key, value in found.items()
    }
    said = differences(wanted, plain)
    said += model_difference(deployment.model, found.get("model_path"))
    return said + precision_difference(deployment, "sglang", found.get("quantization"), told="version" in found)


def _spelled(sizes: Mapping[str, int], found: Mapping[str, Any]) -> dict[str, Scalar]:
    """Before it had a size of its own, the replicas of attention were counted by ``dp_size``."""
    spelled: dict[str, Scalar] = dict(sizes)
    if "attn_dp_size" in spelled and "attn_dp_size" not in found:
        spelled["dp_size"] = spelled.pop("attn_dp_size")
    return spelled


def _switched_off(args: Mapping[str, Scalar], asked: Mapping[str, Scalar]) -> Scalar:
    caching = commons(args).get("prefix_caching")
    return asked.get("disable_radix_cache") if caching is None else not caching
