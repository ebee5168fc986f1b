"""vLLM: Hugging Face models on GPUs, and on the CPU with its CPU build.

Engine arguments are those of ``vllm serve`` without dashes: ``max-model-len: 8192``, ``enable-prefix-caching: false``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Deployment
from joulemark.workloads.engines import vllm_command, vllm_readback
from joulemark.workloads.engines.adapter import ApiTraits, Command, FailurePattern, StartFacts
from joulemark.workloads.engines.failures import VLLM
from joulemark.workloads.engines.options import option_name
from joulemark.workloads.precision import kv_words, quantizations_of


class Vllm:
    """vLLM's OpenAI-compatible server."""

    name: str = "vllm"
    weights_format: str = "hf"
    api: ApiTraits = ApiTraits(
        ready_path="/health",
        metrics_path="/metrics",
        # The last one answers only where the user set env.VLLM_SERVER_DEV_MODE; docs/decisions say why we do not.
        reported_paths=("/version", "/v1/models", "/metrics", "/server_info?config_format=json"),
        body={"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
        fixed_length={"ignore_eos": True},
        takes_key=True,
    )
    failures: tuple[FailurePattern, ...] = VLLM
    stop_grace_s: float = 40.0
    ready_timeout_s: float = 900.0
    quantizations: tuple[str, ...] = quantizations_of("hf")
    kv_types: tuple[str, ...] = tuple(kv_words("vllm"))
    default_kv_type: str = "auto"
    default_slots: int = vllm_command.MAX_NUM_SEQS_AT_LEAST

    def argument_name(self, key: str) -> str:
        """Return an argument as vLLM spells it: with hyphens; a common option as the sweep file spells it."""
        return option_name(key)

    def refusal(self, deployment: Deployment) -> str | None:
        """Return why vLLM cannot be asked for ``deployment``, or None."""
        if deployment.model.location.endswith(".gguf"):
            return "vllm reads Hugging Face folders, not GGUF files"
        return None

    def command(self, deployment: Deployment, facts: StartFacts) -> Command:
        """Return the command line. Raises BadInput where vLLM has no word for what is asked."""
        refusal = self.refusal(deployment)
        if refusal is not None:
            raise BadInput(refusal)
        return vllm_command.command(deployment, facts)

    def engine_state(self, samples: Mapping[str, float]) -> dict[str, float | None]:
        """Return the columns of ``engine_state``; FLOPs and bytes only with the argument ``enable-mfu-metrics``."""
        return {
            "running": samples.get("vllm:num_requests_running"),
            "waiting": samples.get("vllm:num_requests_waiting"),
            "kv_cache_usage": samples.get("vllm:kv_cache_usage_perc"),
            "prompt_tokens_total": samples.get("vllm:prompt_tokens_total"),
            "generation_tokens_total": samples.get("vllm:generation_tokens_total"),
            "preemptions_total": samples.get("vllm:num_preemptions_total"),
            "draft_tokens_total": samples.get("vllm:spec_decode_num_draft_tokens_total"),
            "accepted_tokens_total": samples.get("vllm:spec_decode_num_accepted_tokens_total"),
            "flops_total": samples.get("vllm:estimated_flops_per_gpu_total"),
            "read_bytes_total": samples.get("vllm:estimated_read_bytes_per_gpu_total"),
        }

    def reported(self, documents: Mapping[str, Any]) -> dict[str, Any]:
        """Return version, model, precision, parallelism, cache and scheduling as vLLM resolved them."""
        return vllm_readback.reported(documents)

    def mismatches(self, deployment: Deployment, reported: Mapping[str, Any]) -> list[str]:
        """Return a sentence for all that runs otherwise than asked."""
        return vllm_readback.mismatches(deployment, reported)
