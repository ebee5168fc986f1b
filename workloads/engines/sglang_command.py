"""SGLang's command lines, on one node and on each of several."""

from __future__ import annotations

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Deployment, Scalar
from joulemark.workloads.engines.adapter import Command, StartFacts
from joulemark.workloads.engines.common import check_commons, common_name
from joulemark.workloads.engines.options import flags, merged, refuse_reserved, variables
from joulemark.workloads.engines.translate import sglang_options
from joulemark.workloads.models.catalogue import needs_no_hub
from joulemark.workloads.precision import kv_words

SPARE_TOKENS = 8
"""SGLang 0.5.23 ends an answer 2 tokens before the context is full, and takes no prompt within 6 of it."""
CPU_TOTAL_TOKENS_AT_LEAST = 16384
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "f32": "float32"}
ATTENTION_DP_SINCE = (0, 5, 23)
"""The first known version with ``--attn-dp-size``; before it there was ``--dp-size`` with ``--enable-dp-attention``."""

_PARALLEL = "use the parallel axis, for example parallel: {tensor: 2}"
_OURS = "joulemark decides where the engine listens and what it calls the model"
_SIZES = (
    *("tp-size", "tp", "tensor-parallel-size", "pp-size", "pp", "pipeline-parallel-size"),
    *("dp-size", "dp", "data-parallel-size", "attn-dp-size", "attention-data-parallel-size", "enable-dp-attention"),
    *("ep-size", "ep", "expert-parallel-size"),
)
_RESERVED = {
    "model-path": "the model axis names the model",
    "model": "the model axis names the model",
    "revision": "write org/name@revision on the model axis",
    "host": _OURS,
    "port": _OURS,
    "served-model-name": _OURS,
    "api-key": "SGLang takes it as an argument only, which every user of the node could read",
    **dict.fromkeys(_SIZES, _PARALLEL),
    "kv-cache-dtype": "use the kv_type axis",
    "device": "use the accelerator axis",
    "enable-metrics": "joulemark reads them",
    **dict.fromkeys(("nnodes", "node-rank", "dist-init-addr", "nccl-init-addr"), "joulemark places ranks on nodes"),
}


def command(deployment: Deployment, facts: StartFacts) -> Command:
    """Return the command line. Raises BadInput where SGLang has no word for what is asked."""
    args = deployment.engine.args
    reserved = dict(_RESERVED)
    if deployment.quantization in DTYPES:
        reserved["dtype"] = "use the quantization axis"
    refuse_reserved(args, reserved, "sglang")
    check_commons(args, "sglang")
    if deployment.on_cpu and args.get("cuda_graphs") is True:
        raise BadInput("engine.cuda_graphs needs a GPU")
    if facts.api_key:
        raise BadInput("sglang cannot be given an API key safely: it takes one only on its command line")
    own = {key: value for key, value in args.items() if common_name(key) is None}
    fixed = {**_fixed(deployment, facts), **_span(deployment, facts), **_defaults(deployment, facts)}
    options = merged({**fixed, **sglang_options(args)}, own)
    argv = ("-m", "sglang.launch_server", *flags(options, negatable=False))
    return Command(argv, {**_environment(deployment, facts), **variables(args)})


def parallel_sizes(deployment: Deployment) -> dict[str, int]:
    """Return SGLang's sizes by their names in ``/server_info``.

    Data parallelism with parallel experts is what it is in vLLM: attention in replicas, experts over all devices.
    SGLang counts those replicas inside the tensor size. Without parallel experts there are whole replicas.
    """
    parallel = deployment.parallel
    if not parallel.expert:
        return {"tp_size": parallel.tensor, "pp_size": parallel.pipeline, "dp_size": parallel.data}
    width = parallel.tensor * parallel.data
    attention = {"attn_dp_size": parallel.data} if parallel.data > 1 else {}
    return {"tp_size": width, "pp_size": parallel.pipeline, **attention, "ep_size": width}


def _fixed(deployment: Deployment, facts: StartFacts) -> dict[str, Scalar]:
    """Options that follow from the cell; the user has other words for them."""
    model = deployment.model
    return {
        "model-path": facts.model_path,
        "revision": model.revision if model.source == "hub" and not needs_no_hub(model) else None,
        "served-model-name": facts.served_name,
        "host": facts.host,
        "port": facts.port,
        "enable-metrics": True,
        "enable-cache-report": True,
        **_sizes(deployment),
        "dtype": DTYPES.get(deployment.quantization),
        "kv-cache-dtype": None if deployment.kv_type == "auto" else kv_words("sglang")[deployment.kv_type],
        "device": "cpu" if deployment.on_cpu else None,
    }


def _sizes(deployment: Deployment) -> dict[str, Scalar]:
    sizes = parallel_sizes(deployment)
    if "attn_dp_size" in sizes and _version(deployment) < ATTENTION_DP_SINCE:
        old: dict[str, Scalar] = {"dp-size": sizes.pop("attn_dp_size"), "enable-dp-attention": True}
    else:
        old = {}
    return {**{key.replace("_", "-"): size for key, size in sizes.items() if size != 1}, **old}


def _span(deployment: Deployment, facts: StartFacts) -> dict[str, Scalar]:
    span = facts.span
    if span is None:
        return {}
    address = f"{span.head}:{span.port}"
    return {"nnodes": deployment.parallel.nodes, "node-rank": span.rank, "dist-init-addr": address}


def _defaults(deployment: Deployment, facts: StartFacts) -> dict[str, Scalar]:
    """Options that the user's arguments may replace."""
    shared: dict[str, Scalar] = {
        "context-length": facts.context_tokens + SPARE_TOKENS,
        "load-format": "dummy" if deployment.model.weights == "dummy" else None,
    }
    if not deployment.on_cpu:
        return shared
    return {
        **shared,
        "attention-backend": "torch_native",
        "disable-overlap-schedule": True,
        "max-total-tokens": max(CPU_TOTAL_TOKENS_AT_LEAST, facts.slots * (facts.context_tokens + SPARE_TOKENS)),
        "cuda-graph-backend-decode": "disabled",
        "cuda-graph-backend-prefill": "disabled",
        "skip-server-warmup": True,
    }


def _environment(deployment: Deployment, facts: StartFacts) -> dict[str, str]:
    found = {"OMP_NUM_THREADS": str(facts.threads)}
    if deployment.model.source != "hub" or needs_no_hub(deployment.model):
        found["HF_HUB_OFFLINE"] = "1"
    if deployment.on_cpu:
        found["SGLANG_USE_CPU_ENGINE"] = "1"
    return found


def _version(deployment: Deployment) -> tuple[int, ...]:
    parts = deployment.engine.version.partition("+")[0].split(".")
    return tuple(int(part) if part.isdigit() else 0 for part in parts[:3])
