"""SGLang: Hugging Face models on GPUs; on the CPU only to check this adapter, never for figures.

Engine arguments are those of ``sglang.launch_server`` without dashes. Its switches have no opposite, so that
``false`` leaves a switch out.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Deployment, Scalar
from joulemark.workloads.engines.adapter import ApiTraits, Command, FailurePattern, StartFacts
from joulemark.workloads.engines.failures import BAD_CHECKPOINT, MODEL_MISSING, OUT_OF_MEMORY, PORT_TAKEN, UNSUPPORTED
from joulemark.workloads.engines.options import flags, merged, option_name, refuse_reserved, variables
from joulemark.workloads.engines.readback import differences, present
from joulemark.workloads.precision import quantizations_of

CPU_TOTAL_TOKENS_AT_LEAST = 16384

_PARALLEL = "use the parallel axis, for example parallel: {tensor: 2}"
_OURS = "joulemark decides where the engine listens and what it calls the model"
_RESERVED = {
    "model-path": "the model axis names the model",
    "model": "the model axis names the model",
    "revision": "write org/name@revision on the model axis",
    "host": _OURS,
    "port": _OURS,
    "served-model-name": _OURS,
    "api-key": "SGLang takes it as an argument only, which every user of the node could read",
    **dict.fromkeys(("tp-size", "tp", "tensor-parallel-size", "pp-size", "dp-size", "dp", "ep-size", "ep"), _PARALLEL),
    "kv-cache-dtype": "use the kv_type axis",
    "device": "use the accelerator axis",
    "enable-metrics": "joulemark reads them",
}
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "f32": "float32"}
_KV_TYPES = {
    "auto": "auto",
    "bf16": "bfloat16",
    "fp8": "fp8_e4m3",
    "fp8_e4m3": "fp8_e4m3",
    "fp8_e5m2": "fp8_e5m2",
}
_REPORTED = (
    "version",
    "dtype",
    "quantization",
    "kv_cache_dtype",
    "context_length",
    "max_running_requests",
    "max_total_num_tokens",
    "tp_size",
    "pp_size",
    "dp_size",
    "ep_size",
    "attention_backend",
    "chunked_prefill_size",
    "mem_fraction_static",
    "disable_radix_cache",
    "speculative_algorithm",
    "load_format",
)
"""Keys of ``/server_info`` that are kept. Not all of it: it holds secrets and the whole command line."""


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
    failures: tuple[FailurePattern, ...] = (
        PORT_TAKEN,
        FailurePattern(
            r"Not enough memory\. Please try to increase|Please try to (reduce|increase) --mem-fraction-static",
            "out_of_memory",
            "no room is left for the KV cache: set mem-fraction-static, a smaller precision, or more devices",
        ),
        OUT_OF_MEMORY,
        MODEL_MISSING,
        BAD_CHECKPOINT,
        UNSUPPORTED,
    )
    stop_grace_s: float = 90.0
    ready_timeout_s: float = 900.0
    quantizations: tuple[str, ...] = quantizations_of("hf")
    kv_types: tuple[str, ...] = tuple(_KV_TYPES)
    default_kv_type: str = "auto"
    default_slots: int = 256

    def argument_name(self, key: str) -> str:
        """Return an argument as SGLang spells it: with hyphens."""
        return option_name(key)

    def refusal(self, deployment: Deployment) -> str | None:
        """Return why SGLang cannot be asked for ``deployment``, or None."""
        if deployment.model.location.endswith(".gguf"):
            return "sglang is given Hugging Face folders here, not GGUF files"
        return None

    def command(self, deployment: Deployment, facts: StartFacts) -> Command:
        """Return the command line. Raises BadInput where SGLang has no word for what is asked."""
        args = deployment.engine.args
        reserved = dict(_RESERVED)
        if deployment.quantization in _DTYPES:
            reserved["dtype"] = "use the quantization axis"
        refuse_reserved(args, reserved, self.name)
        refusal = self.refusal(deployment)
        if refusal is not None:
            raise BadInput(refusal)
        if facts.api_key:
            raise BadInput("sglang cannot be given an API key safely: it takes one only on its command line")
        options = merged({**_fixed(deployment, facts), **_defaults(deployment, facts)}, args)
        argv = ("-m", "sglang.launch_server", *flags(options, negatable=False))
        return Command(argv, {**_environment(deployment, facts), **variables(args)})

    def engine_state(self, samples: Mapping[str, float]) -> dict[str, float | None]:
        """Return the columns of ``engine_state``."""
        return {
            "running": samples.get("sglang:num_running_reqs"),
            "waiting": samples.get("sglang:num_queue_reqs"),
            "kv_cache_usage": samples.get("sglang:token_usage"),
            "prompt_tokens_total": samples.get("sglang:prompt_tokens_total"),
            "generation_tokens_total": samples.get("sglang:generation_tokens_total"),
            "preemptions_total": samples.get("sglang:num_retracted_requests_total"),
            "flops_total": samples.get("sglang:estimated_flops_per_gpu_total"),
            "read_bytes_total": samples.get("sglang:estimated_read_bytes_per_gpu_total"),
        }

    def reported(self, documents: Mapping[str, Any]) -> dict[str, Any]:
        """Return version, precision, cache and parallelism as SGLang resolved them."""
        info, model = documents.get("/server_info") or {}, documents.get("/model_info") or {}
        found = {key: info.get(key) for key in _REPORTED}
        found |= {"model_path": model.get("model_path"), "model_type": model.get("model_type")}
        return present(found)

    def mismatches(self, deployment: Deployment, reported: Mapping[str, Any]) -> list[str]:
        """Return a sentence for another version, dtype, KV-cache type or parallelism than asked."""
        parallel = deployment.parallel
        wanted: dict[str, Scalar] = {
            "version": deployment.engine.version,
            "dtype": _DTYPES.get(deployment.quantization),
            "kv_cache_dtype": None if deployment.kv_type == "auto" else _KV_TYPES.get(deployment.kv_type),
            "tp_size": parallel.tensor,
            "pp_size": parallel.pipeline,
            "dp_size": parallel.data,
        }
        return differences(wanted, reported)


def _fixed(deployment: Deployment, facts: StartFacts) -> dict[str, Scalar]:
    """Options that follow from the cell; the user has other words for them."""
    parallel = deployment.parallel
    many: dict[str, Scalar] = {"tp-size": parallel.tensor, "pp-size": parallel.pipeline, "dp-size": parallel.data}
    return {
        "model-path": facts.model_path,
        "revision": deployment.model.revision if deployment.model.source == "hub" else None,
        "served-model-name": facts.served_name,
        "host": facts.host,
        "port": facts.port,
        "enable-metrics": True,
        **{key: value for key, value in many.items() if value != 1},
        "ep-size": parallel.tensor if parallel.expert and parallel.tensor > 1 else None,
        "dtype": _DTYPES.get(deployment.quantization),
        "kv-cache-dtype": None if deployment.kv_type == "auto" else _KV_TYPES[deployment.kv_type],
        "device": "cpu" if deployment.on_cpu else None,
    }


def _defaults(deployment: Deployment, facts: StartFacts) -> dict[str, Scalar]:
    """Options that the user's arguments may replace."""
    shared: dict[str, Scalar] = {
        "context-length": facts.context_tokens,
        "load-format": "dummy" if deployment.model.weights == "dummy" else None,
    }
    if not deployment.on_cpu:
        return shared
    return {
        **shared,
        "attention-backend": "torch_native",
        "disable-overlap-schedule": True,
        "max-total-tokens": max(CPU_TOTAL_TOKENS_AT_LEAST, facts.slots * facts.context_tokens),
        "cuda-graph-backend-decode": "disabled",
        "cuda-graph-backend-prefill": "disabled",
        "skip-server-warmup": True,
    }


def _environment(deployment: Deployment, facts: StartFacts) -> dict[str, str]:
    found = {"OMP_NUM_THREADS": str(facts.threads)}
    if deployment.model.source != "hub":
        found["HF_HUB_OFFLINE"] = "1"
    if deployment.on_cpu:
        found["SGLANG_USE_CPU_ENGINE"] = "1"
    return found
