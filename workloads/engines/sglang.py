"""SGLang: Hugging Face models on GPUs; on the CPU only to check this adapter, never for figures.

Engine arguments are those of ``sglang.launch_server`` without dashes. Its switches have no opposite, so that
``false`` leaves a switch out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Deployment
from joulemark.workloads.engines import sglang_command, sglang_readback
from joulemark.workloads.engines.adapter import ApiTraits, Command, FailurePattern, StartFacts
from joulemark.workloads.engines.failures import SGLANG
from joulemark.workloads.engines.options import option_name
from joulemark.workloads.precision import kv_words, quantizations_of


class Sglang:
    """SGLang's OpenAI-compatible server."""

    name: str = "sglang"
    weights_format: str = "hf"
    api: ApiTraits = ApiTraits(
        # Never /health: it has the model generate a token.
        ready_path="/ready",
        metrics_path="/metrics",
        reported_paths=("/server_info", "/model_info"),
        body={"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
        fixed_length={"ignore_eos": True},
    )
    failures: tuple[FailurePattern, ...] = SGLANG
    stop_grace_s: float = 90.0
    ready_timeout_s: float = 900.0
    quantizations: tuple[str, ...] = quantizations_of("hf")
    kv_types: tuple[str, ...] = tuple(kv_words("sglang"))
    default_kv_type: str = "auto"
    default_slots: int = 256

    def argument_name(self, key: str) -> str:
        """Return an argument as SGLang spells it: with hyphens; a common option as the sweep file spells it."""
        return option_name(key)

    def refusal(self, deployment: Deployment) -> str | None:
        """Return why SGLang cannot be asked for ``deployment``, or None."""
        if deployment.model.location.endswith(".gguf"):
            return "sglang is given Hugging Face folders here, not GGUF files"
        return None

    def command(self, deployment: Deployment, facts: StartFacts) -> Command:
        """Return the command line. Raises BadInput where SGLang has no word for what is asked."""
        refusal = self.refusal(deployment)
        if refusal is not None:
            raise BadInput(refusal)
        return sglang_command.command(deployment, facts)

    def engine_state(self, samples: Mapping[str, float]) -> dict[str, float | None]:
        """Return the columns of ``engine_state``; of drafted tokens it tells a mean length only, no counts."""
        return {
            "running": samples.get("sglang:num_running_reqs"),
            "waiting": samples.get("sglang:num_queue_reqs"),
            "kv_cache_usage": samples.get("sglang:token_usage"),
            "prompt_tokens_total": samples.get("sglang:prompt_tokens_total"),
            "generation_tokens_total": samples.get("sglang:generation_tokens_total"),
            "preemptions_total": samples.get("sglang:num_retracted_requests_total"),
            "draft_tokens_total": None,
            "accepted_tokens_total": None,
            "flops_total": samples.get("sglang:estimated_flops_per_gpu_total"),
            "read_bytes_total": samples.get("sglang:estimated_read_bytes_per_gpu_total"),
        }

    def reported(self, documents: Mapping[str, Any]) -> dict[str, Any]:
        """Return version, precision, cache, parallelism and scheduling as SGLang resolved them."""
        return sglang_readback.reported(documents)

    def mismatches(self, deployment: Deployment, reported: Mapping[str, Any]) -> list[str]:
        """Return a sentence for all that runs otherwise than asked."""
        return sglang_readback.mismatches(deployment, reported)
