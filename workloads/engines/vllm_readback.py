"""What vLLM says of itself: answers of its API, labels of its metrics, and the first lines of its log.

The log holds the whole configuration as vLLM resolved it. It is read rather than the endpoint ``/server_info``, which
comes only together with others that change the engine and that no key protects.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from joulemark.workloads.cell import Deployment, Scalar
from joulemark.workloads.engines.adapter import LOG
from joulemark.workloads.engines.common import commons, speculative
from joulemark.workloads.engines.readback import (
    commit_of,
    differences,
    labels,
    model_difference,
    precision_difference,
    present,
    word,
)
from joulemark.workloads.engines.translate import vllm_options
from joulemark.workloads.engines.vllm_command import DTYPES
from joulemark.workloads.precision import kv_words

_CONFIGURATION = re.compile(r"Initializing a V1 LLM engine \([^)]*\) with config: (.*)")
_KEYS = {
    "dtype": "dtype",
    "max_seq_len": "context_tokens",
    "load_format": "load_format",
    "tensor_parallel_size": "tensor_parallel_size",
    "pipeline_parallel_size": "pipeline_parallel_size",
    "data_parallel_size": "data_parallel_size",
    "quantization": "quantization",
    "enforce_eager": "enforce_eager",
    "kv_cache_dtype": "kv_cache_dtype",
    "enable_prefix_caching": "prefix_caching",
    "enable_chunked_prefill": "chunked_prefill",
    "moe_backend": "moe_backend",
    "revision": "revision",
}
"""Words of the configuration in the log -> what they are called here."""
_CACHE_LABELS = {
    "num_gpu_blocks": "kv_blocks",
    "block_size": "kv_block_tokens",
    "kv_cache_size_tokens": "kv_tokens",
    "cache_dtype": "kv_cache_dtype",
    "enable_prefix_caching": "prefix_caching",
    "gpu_memory_utilization": "memory_fraction",
}
"""Labels of the metric ``vllm:cache_config_info`` -> what they are called here."""
_EXPERT_PARALLEL = re.compile(r"\(Worker\w*_EP\d+ pid=")
"""The names of workers tell; the EP rank that is logged is 0 for any model with experts."""
_IN_LOG = {
    "kv_tokens": re.compile(r"KV cache size: ([\d,]+) tokens"),
    "attention_backend": re.compile(
        r"\[(?:cuda|cpu|rocm|xpu)\.py:\d+\] Using (?:AttentionBackendEnum\.)?([A-Z][A-Z0-9_]+) (?:attention )?backend"
    ),
    "moe_kernels": re.compile(r"Using '?(\w+)'? (?:[\w ]+ )?MoE backend"),
    "linear_kernel": re.compile(r"Selected (\w+) for \w+"),
    "quantized_layers": re.compile(r"Quantizing (\d+) layers of types"),
    "speculative_method": re.compile(r"speculative_config=SpeculativeConfig\(method='(\w+)'"),
    "speculative_tokens": re.compile(r"SpeculativeConfig\([^)]*num_spec_tokens=(\d+)"),
    "cuda_graphs": re.compile(r"'cudagraph_mode': <CUDAGraphMode\.(\w+):"),
}


def reported(documents: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is there, flat. Numbers are numbers, truths are truths; what vLLM calls None is absent."""
    cards = (documents.get("/v1/models") or {}).get("data") or [{}]
    log = str(documents.get(LOG) or "")
    page = str(documents.get("/metrics") or "")
    found: dict[str, Any] = {**_from_log(log), **_from_metrics(page)}
    found |= _replicas(page, found.get("data_parallel_size"))
    found |= present(_from_server_info(documents.get("/server_info?config_format=json") or {}))
    found |= present(
        {
            "version": (documents.get("/version") or {}).get("version"),
            "model_path": cards[0].get("root"),
            "context_tokens": cards[0].get("max_model_len"),
        }
    )
    return {**found, **present({"model_commit": commit_of(found.get("model_path"))})}


def mismatches(deployment: Deployment, found: Mapping[str, Any]) -> list[str]:
    """Return a sentence for all that is otherwise than asked, in what both sides know."""
    args, given, draft = deployment.engine.args, commons(deployment.engine.args), speculative(deployment.engine.args)
    own = vllm_options(args)
    parallel = deployment.parallel
    wanted: dict[str, Scalar] = {
        "version": deployment.engine.version,
        "context_tokens": args.get("max-model-len"),
        "dtype": DTYPES.get(deployment.quantization),
        "kv_cache_dtype": None if deployment.kv_type == "auto" else kv_words("vllm").get(deployment.kv_type),
        "tensor_parallel_size": parallel.tensor,
        "pipeline_parallel_size": parallel.pipeline,
        "data_parallel_size": parallel.data,
        "expert_parallel": parallel.expert,
        "revision": deployment.model.revision,
        "load_format": "dummy" if deployment.model.weights == "dummy" else args.get("load-format"),
        "attention_backend": args.get("attention-backend"),
        "enforce_eager": args.get("enforce-eager"),
        "prefix_caching": args.get("enable-prefix-caching", given.get("prefix_caching")),
        "chunked_prefill": args.get("enable-chunked-prefill", given.get("chunked_prefill")),
        "moe_backend": args.get("moe-backend", given.get("moe_backend")),
        "memory_fraction": args.get("gpu-memory-utilization", given.get("memory_fraction")),
        "cuda_graphs": "NONE" if given.get("cuda_graphs") is False else None,
        "speculative_tokens": draft.get("tokens"),
        "speculative_method": {"draft": "draft_model"}.get(str(draft.get("method")), draft.get("method")),
    }
    said = differences(wanted, found)
    said += model_difference(deployment.model, found.get("model_path"))
    said += precision_difference(
        deployment, "vllm", found.get("quantization"), told="kv_blocks" in found or "dtype" in found
    )
    if given.get("cuda_graphs") is True and found.get("cuda_graphs") == "NONE":
        said.append("asked for CUDA graphs, the engine says that it uses none")
    if found.get("quantized_layers") == 0:
        said.append(
            f"asked for {deployment.quantization} made while loading, the engine says that it quantized no layer"
        )
    if "speculative-config" in own and "dtype" in found and "speculative_method" not in found:
        said.append("asked for speculative decoding, the engine says that it does none")
    return said


def _from_log(log: str) -> dict[str, Any]:
    configuration = _CONFIGURATION.search(log)
    text = configuration[1] if configuration else ""
    found: dict[str, Any] = {}
    for theirs, ours in _KEYS.items():
        # Values of nested records have the same words; the outermost ones come first, and those of dictionaries differ.
        match = re.search(rf"(?:^|[ (]){theirs}=([^,)]*)", text)
        if match:
            found[ours] = word(match[1])
    if configuration:
        found["expert_parallel"] = bool(_EXPERT_PARALLEL.search(log))
    found |= {name: word(match[1]) for name, pattern in _IN_LOG.items() if (match := pattern.search(log))}
    return present(found)


def _from_metrics(page: str) -> dict[str, Any]:
    cache = labels(page, "vllm:cache_config_info")
    return present({ours: word(cache[theirs]) for theirs, ours in _CACHE_LABELS.items() if theirs in cache})


def _replicas(page: str, logged: object) -> dict[str, Any]:
    """Replicas of a model without experts know nothing of each other: each logs that it is the only one."""
    seen = sum(line.startswith("vllm:cache_config_info{") for line in page.splitlines())
    return {"data_parallel_size": seen} if isinstance(logged, int) and seen > logged else {}


def _from_server_info(info: Mapping[str, Any]) -> dict[str, Any]:
    config = info.get("vllm_config")
    config = config if isinstance(config, dict) else {}
    model, cache = config.get("model_config") or {}, config.get("cache_config") or {}
    return {
        "dtype": model.get("dtype"),
        "quantization": model.get("quantization"),
        "kv_cache_dtype": cache.get("cache_dtype"),
    }
