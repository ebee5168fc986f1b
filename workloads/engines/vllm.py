"""vLLM: Hugging Face models on GPUs, and on the CPU with its CPU build.

Engine arguments are those of ``vllm serve`` without dashes: ``max-model-len: 8192``, ``enable-prefix-caching: false``.
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

MAX_NUM_SEQS_AT_LEAST = 256
"""vLLM's own limit of requests in flight is this or higher, by device."""
SHUTDOWN_TIMEOUT_S = 20
"""Without one, vLLM's server can hang for minutes when a client still streams."""
CPU_KV_CACHE_GIB = 4

_PARALLEL = "use the parallel axis, for example parallel: {tensor: 2}"
_OURS = "joulemark decides where the engine listens and what it calls the model"
_RESERVED = {
    "model": "the model axis names the model",
    "revision": "write org/name@revision on the model axis",
    "host": _OURS,
    "port": _OURS,
    "served-model-name": _OURS,
    "api-key": _OURS,
    "tensor-parallel-size": _PARALLEL,
    "pipeline-parallel-size": _PARALLEL,
    "data-parallel-size": _PARALLEL,
    "enable-expert-parallel": "use the parallel axis, for example parallel: {tensor: 2, expert: true}",
    "kv-cache-dtype": "use the kv_type axis",
}
_DTYPES = {"bf16": "bfloat16", "fp16": "float16", "f32": "float32"}
_KV_TYPES = {"auto": "auto", "bf16": "bfloat16", "fp16": "float16"} | {k: k for k in ("fp8", "fp8_e4m3", "fp8_e5m2")}


class Vllm:
    """vLLM's OpenAI-compatible server."""

    name: str = "vllm"
    weights_format: str = "hf"
    api: ApiTraits = ApiTraits(
        ready_path="/health",
        metrics_path="/metrics",
        # The last one answers only where the user set env.VLLM_SERVER_DEV_MODE.
        reported_paths=("/version", "/v1/models", "/server_info?config_format=json"),
        body={"stream_options": {"include_usage": True, "continuous_usage_stats": True}},
        fixed_length={"ignore_eos": True},
        takes_key=True,
    )
    failures: tuple[FailurePattern, ...] = (
        PORT_TAKEN,
        FailurePattern(
            r"no attribute 'cpu_gemm_wna16'",
            "unsupported",
            "this CPU lacks AVX-512, which vLLM's 4-bit kernels for the CPU need: exclude w4a16 here",
        ),
        FailurePattern(
            r"No available memory for the cache blocks|less than desired (GPU|CPU) memory utilization"
            r"|KV cache is needed, which is larger than the available",
            "out_of_memory",
            "no room is left for the KV cache: fewer tokens (max-model-len), a smaller precision, or more devices",
        ),
        OUT_OF_MEMORY,
        MODEL_MISSING,
        BAD_CHECKPOINT,
        UNSUPPORTED,
    )
    stop_grace_s: float = 40.0
    ready_timeout_s: float = 900.0
    quantizations: tuple[str, ...] = quantizations_of("hf")
    kv_types: tuple[str, ...] = tuple(_KV_TYPES)
    default_kv_type: str = "auto"
    default_slots: int = MAX_NUM_SEQS_AT_LEAST

    def argument_name(self, key: str) -> str:
        """Return an argument as vLLM spells it: with hyphens."""
        return option_name(key)

    def refusal(self, deployment: Deployment) -> str | None:
        """Return why vLLM cannot be asked for ``deployment``, or None."""
        if deployment.model.location.endswith(".gguf"):
            return "vllm reads Hugging Face folders, not GGUF files"
        return None

    def command(self, deployment: Deployment, facts: StartFacts) -> Command:
        """Return the command line. Raises BadInput where vLLM has no word for what is asked."""
        args = deployment.engine.args
        reserved = dict(_RESERVED)
        if deployment.quantization in _DTYPES:
            reserved["dtype"] = "use the quantization axis"
        refuse_reserved(args, reserved, self.name)
        refusal = self.refusal(deployment)
        if refusal is not None:
            raise BadInput(refusal)
        options = merged({**_fixed(deployment, facts), **_defaults(deployment, facts)}, args)
        argv = ("-m", "vllm.entrypoints.openai.api_server", *flags(options, negatable=True))
        return Command(argv, {**_environment(deployment, facts), **variables(args)})

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
        """Return version, model and context, and in vLLM's development mode precision and cache type too."""
        cards = (documents.get("/v1/models") or {}).get("data") or [{}]
        config = (documents.get("/server_info?config_format=json") or {}).get("vllm_config")
        config = config if isinstance(config, dict) else {}
        model, cache = config.get("model_config") or {}, config.get("cache_config") or {}
        found = {
            "version": (documents.get("/version") or {}).get("version"),
            "model_path": cards[0].get("root"),
            "context_tokens": cards[0].get("max_model_len"),
            "dtype": model.get("dtype"),
            "quantization": model.get("quantization"),
            "kv_cache_dtype": cache.get("cache_dtype"),
        }
        return present(found)

    def mismatches(self, deployment: Deployment, reported: Mapping[str, Any]) -> list[str]:
        """Return a sentence for another version, dtype, KV-cache type or context than asked."""
        wanted: dict[str, Scalar] = {
            "version": deployment.engine.version,
            "context_tokens": deployment.engine.args.get("max-model-len"),
            "dtype": _DTYPES.get(deployment.quantization),
            "kv_cache_dtype": None if deployment.kv_type == "auto" else _KV_TYPES.get(deployment.kv_type),
        }
        return differences(wanted, reported)


def _fixed(deployment: Deployment, facts: StartFacts) -> dict[str, Scalar]:
    """Options that follow from the cell; the user has other words for them."""
    parallel = deployment.parallel
    many: dict[str, Scalar] = {
        "tensor-parallel-size": parallel.tensor,
        "pipeline-parallel-size": parallel.pipeline,
        "data-parallel-size": parallel.data,
    }
    return {
        "model": facts.model_path,
        "revision": deployment.model.revision if deployment.model.source == "hub" else None,
        "served-model-name": facts.served_name,
        "host": facts.host,
        "port": facts.port,
        **{key: value for key, value in many.items() if value != 1},
        "enable-expert-parallel": True if parallel.expert else None,
        "dtype": _DTYPES.get(deployment.quantization),
        "kv-cache-dtype": None if deployment.kv_type == "auto" else _KV_TYPES[deployment.kv_type],
    }


def _defaults(deployment: Deployment, facts: StartFacts) -> dict[str, Scalar]:
    """Options that the user's arguments may replace."""
    return {
        "max-model-len": facts.context_tokens,
        "max-num-seqs": facts.slots if facts.slots > MAX_NUM_SEQS_AT_LEAST else None,
        "load-format": "dummy" if deployment.model.weights == "dummy" else None,
        "enforce-eager": True if deployment.on_cpu else None,
        "shutdown-timeout": SHUTDOWN_TIMEOUT_S,
    }


def _environment(deployment: Deployment, facts: StartFacts) -> dict[str, str]:
    found = {"OMP_NUM_THREADS": str(facts.threads), "VLLM_NO_USAGE_STATS": "1"}
    if deployment.model.source != "hub":
        found["HF_HUB_OFFLINE"] = "1"
    if facts.api_key:
        # Not as an argument: those can be read by every user of the node.
        found["VLLM_API_KEY"] = facts.api_key
    if deployment.on_cpu:
        small = deployment.model.source == "generated"
        found["VLLM_CPU_KVCACHE_SPACE"] = "1" if small else str(CPU_KV_CACHE_GIB)
        if facts.cpus:
            found["VLLM_CPU_OMP_THREADS_BIND"] = _binding(facts.cpus, deployment.parallel.devices)
    return found


def _binding(cpus: tuple[int, ...], ranks: int) -> str:
    """Share the CPUs out over the ranks: ``0,1|2,3``."""
    share = max(1, len(cpus) // ranks)
    return "|".join(",".join(map(str, cpus[rank * share : (rank + 1) * share])) for rank in range(ranks))
