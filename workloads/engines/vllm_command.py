"""vLLM's command lines, on one node and on each of several."""

from __future__ import annotations

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Deployment, Scalar
from joulemark.workloads.engines.adapter import LAUNCHER, Command, Span, StartFacts
from joulemark.workloads.engines.common import check_commons, common_name
from joulemark.workloads.engines.options import flags, merged, refuse_reserved, variables
from joulemark.workloads.engines.translate import vllm_options
from joulemark.workloads.models.catalogue import needs_no_hub
from joulemark.workloads.precision import kv_words

MAX_NUM_SEQS_AT_LEAST = 256
"""vLLM's own limit of requests in flight is this or higher, by device."""
SHUTDOWN_TIMEOUT_S = 20
"""Without one, vLLM's server can hang for minutes when a client still streams."""
CPU_KV_CACHE_GIB = 4
COUNT_CACHED = "enable-prompt-tokens-details"
DTYPES = {"bf16": "bfloat16", "fp16": "float16", "f32": "float32"}

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
    **dict.fromkeys(
        ("nnodes", "node-rank", "master-addr", "master-port", "headless"), "joulemark places ranks on nodes"
    ),
}


def command(deployment: Deployment, facts: StartFacts) -> Command:
    """Return the command line. Raises BadInput where vLLM has no word for what is asked."""
    args = deployment.engine.args
    reserved = dict(_RESERVED)
    if deployment.quantization in DTYPES:
        reserved["dtype"] = "use the quantization axis"
    refuse_reserved(args, reserved, "vllm")
    check_commons(args, "vllm")
    if deployment.on_cpu and args.get("cuda_graphs") is True:
        raise BadInput("engine.cuda_graphs needs a GPU")
    own = {key: value for key, value in args.items() if common_name(key) is None}
    options = merged({**_fixed(deployment, facts), **_defaults(deployment, facts), **vllm_options(args)}, own)
    environment = {**_environment(deployment, facts), **variables(args)}
    if facts.span is None:
        return Command((*_server(facts), *flags(options, negatable=True)), environment)
    nodes = deployment.parallel.nodes
    where: dict[str, Scalar] = {"nnodes": nodes, **_where(facts.span, options)}
    if facts.span.rank == 0:
        return Command((*_server(facts), *flags({**options, **where}, negatable=True)), environment)
    # The module that serves has no headless mode, and the command takes the model by its place.
    start = (LAUNCHER,) if deployment.on_cpu else ("-m", "vllm.entrypoints.cli.main")
    left = {key: value for key, value in options.items() if key not in ("host", "port", COUNT_CACHED)}
    argv = (*start, "serve", facts.model_path, "--headless", *flags({**left, **where}, negatable=True))
    return Command(argv, environment)


def _server(facts: StartFacts) -> tuple[str, ...]:
    return ("-m", "vllm.entrypoints.openai.api_server", "--model", facts.model_path)


def _where(span: Span, options: dict[str, Scalar]) -> dict[str, Scalar]:
    """Return how a rank finds the others. vLLM finds the data-parallel ranks of a node by its rank."""
    data: dict[str, Scalar] = {"data-parallel-address": span.head, "data-parallel-rpc-port": span.port + 1}
    return {
        "node-rank": span.rank,
        "master-addr": span.head,
        "master-port": span.port,
        **(data if "data-parallel-size" in options else {}),
    }


def _fixed(deployment: Deployment, facts: StartFacts) -> dict[str, Scalar]:
    """Options that follow from the cell; the user has other words for them."""
    parallel, model = deployment.parallel, deployment.model
    many: dict[str, Scalar] = {
        "tensor-parallel-size": parallel.tensor,
        "pipeline-parallel-size": parallel.pipeline,
        "data-parallel-size": parallel.data,
    }
    return {
        "revision": model.revision if model.source == "hub" and not needs_no_hub(model) else None,
        "served-model-name": facts.served_name,
        "host": facts.host,
        "port": facts.port,
        # Tells how much of a prompt came from the cache.
        COUNT_CACHED: True,
        **{key: value for key, value in many.items() if value != 1},
        "enable-expert-parallel": True if parallel.expert else None,
        "dtype": DTYPES.get(deployment.quantization),
        "kv-cache-dtype": None if deployment.kv_type == "auto" else kv_words("vllm")[deployment.kv_type],
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
    if deployment.model.source != "hub" or needs_no_hub(deployment.model):
        found["HF_HUB_OFFLINE"] = "1"
    if facts.api_key:
        # Not as an argument: those can be read by every user of the node.
        found["VLLM_API_KEY"] = facts.api_key
    if deployment.on_cpu:
        small = deployment.model.source == "generated"
        found["VLLM_CPU_KVCACHE_SPACE"] = "1" if small else str(CPU_KV_CACHE_GIB)
        if facts.cpus:
            found["VLLM_CPU_OMP_THREADS_BIND"] = _binding(facts.cpus, deployment.parallel.devices_per_node)
    return found


def _binding(cpus: tuple[int, ...], ranks: int) -> str:
    """Share the CPUs out over the ranks: ``0,1|2,3``."""
    share = max(1, len(cpus) // ranks)
    return "|".join(",".join(map(str, cpus[rank * share : (rank + 1) * share])) for rank in range(ranks))
