"""The common options of ``common.py`` in each engine's own words."""

from __future__ import annotations

import json
from collections.abc import Mapping

from joulemark.workloads.cell import Scalar
from joulemark.workloads.engines.common import commons, speculative

NGRAM_LOOKUP = (2, 4)
"""vLLM looks for the last 2 to 4 tokens in what went before; it has no default for it."""


def vllm_options(args: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return vLLM's own arguments for the common options."""
    given = commons(args)
    simple = {
        "prefix_caching": "enable-prefix-caching",
        "chunked_prefill": "enable-chunked-prefill",
        "max_batched_tokens": "max-num-batched-tokens",
        "max_running_requests": "max-num-seqs",
        "memory_fraction": "gpu-memory-utilization",
        "moe_backend": "moe-backend",
        "moe_all2all": "all2all-backend",
    }
    found: dict[str, Scalar] = {own: given[name] for name, own in simple.items() if name in given}
    if given.get("cuda_graphs") is False:
        found["compilation-config"] = _json({"cudagraph_mode": "NONE"})
    draft = speculative(args)
    if draft:
        method = {"draft": "draft_model"}.get(str(draft["method"]), draft["method"])
        config: dict[str, Scalar] = {"method": method, "num_speculative_tokens": draft["tokens"]}
        config |= {"model": draft["model"]} if "model" in draft else {}
        lookup: dict[str, Scalar] = {"prompt_lookup_min": NGRAM_LOOKUP[0], "prompt_lookup_max": NGRAM_LOOKUP[1]}
        config |= lookup if method == "ngram" else {}
        found["speculative-config"] = _json(config)
    return found


def sglang_options(args: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return SGLang's own arguments for the common options."""
    given = commons(args)
    found: dict[str, Scalar] = {}
    if given.get("prefix_caching") is False:
        found["disable-radix-cache"] = True
    if "max_batched_tokens" in given:
        found["chunked-prefill-size"] = found["max-prefill-tokens"] = given["max_batched_tokens"]
    if given.get("chunked_prefill") is False:
        found["chunked-prefill-size"] = -1
    simple = {
        "max_running_requests": "max-running-requests",
        "memory_fraction": "mem-fraction-static",
        "moe_backend": "moe-runner-backend",
        "moe_all2all": "moe-a2a-backend",
    }
    found |= {own: given[name] for name, own in simple.items() if name in given}
    if given.get("cuda_graphs") is False:
        found |= {"cuda-graph-backend-decode": "disabled", "cuda-graph-backend-prefill": "disabled"}
    return {**found, **_sglang_speculation(speculative(args))}


def _sglang_speculation(draft: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Chains of drafted tokens, as vLLM drafts them; SGLang counts the token that is verified along with them."""
    if not draft:
        return {}
    algorithm = {"draft": "STANDALONE", "mtp": "EAGLE"}.get(str(draft["method"]), str(draft["method"]).upper())
    tokens = draft["tokens"]
    assert isinstance(tokens, int)
    found: dict[str, Scalar] = {"speculative-algorithm": algorithm, "speculative-num-draft-tokens": tokens + 1}
    if draft["method"] != "ngram":
        found |= {"speculative-num-steps": tokens, "speculative-eagle-topk": 1}
    return {**found, **({"speculative-draft-model-path": draft["model"]} if "model" in draft else {})}


def llamacpp_options(args: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return llama.cpp's own arguments for the common options."""
    given = commons(args)
    return {"n_batch": given["max_batched_tokens"]} if "max_batched_tokens" in given else {}


def _json(config: Mapping[str, Scalar]) -> str:
    return json.dumps(config, separators=(",", ":"))
