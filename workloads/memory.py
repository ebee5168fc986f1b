"""How much memory a deployment needs on each of its devices: an estimate, and one that rather says too little.

Counted are weights and KV cache. Not counted are activations, graphs and the engine's own buffers, which depend on
its version: what does not fit by this estimate does not fit.
"""

from __future__ import annotations

from dataclasses import dataclass

from joulemark.warehouse.units import BYTES_PER_GIB
from joulemark.workloads.cell import Cell, Deployment, Length, Workload
from joulemark.workloads.models.facts import ModelFacts, kv_bytes_per_token
from joulemark.workloads.precision import KV_TYPES, QUANTIZATIONS

PLAIN_BITS = 16
"""Embeddings, head, norms and routers stay in 16 bits in quantized checkpoints."""


@dataclass(frozen=True)
class Need:
    """Bytes on the fullest device: ``weights``, and ``kv`` for the requests that are to run at the same time."""

    weights: float
    kv: float

    @property
    def total(self) -> float:
        """Both."""
        return self.weights + self.kv

    def __str__(self) -> str:
        """In words."""
        return f"weights {self.weights / BYTES_PER_GIB:.1f} GiB, KV cache {self.kv / BYTES_PER_GIB:.1f} GiB"


def need(cell: Cell, facts: ModelFacts) -> Need:
    """Return what the cell needs on each device, about."""
    deployment = cell.deployment
    return Need(weight_bytes(deployment, facts), kv_bytes(deployment, cell.workload, facts))


def weight_bytes(deployment: Deployment, facts: ModelFacts) -> float:
    """Return the bytes of weights on one device.

    Tensor and pipeline parallelism share all layers out, and every replica of data parallelism has its own. The routed
    experts are shared out over the replicas too where they are parallel, and in vLLM in any case.
    """
    parallel = deployment.parallel
    sharing = parallel.tensor * parallel.pipeline
    spread = parallel.expert or deployment.engine.name == "vllm"
    experts = facts.expert_params * _bits(deployment, experts=True) / (sharing * (parallel.data if spread else 1))
    tables = facts.embedding_params * (1 if facts.tied_embeddings else 2)
    layers = facts.total_params - facts.expert_params - tables
    bits = _bits(deployment, experts=False)
    return (experts + (layers * bits + tables * max(bits, PLAIN_BITS)) / sharing) / 8


def kv_bytes(deployment: Deployment, workload: Workload, facts: ModelFacts) -> float:
    """Return the bytes of KV cache on one device.

    They are for the tokens that ``held_tokens`` gives, or for the longest request alone where that is more: engines
    start only where it fits. Heads are shared out by tensor parallelism, at most one to a device and the compressed
    vectors of latent attention not at all; layers by pipeline parallelism, requests by data parallelism.
    """
    parallel = deployment.parallel
    streams = -(-(workload.concurrency or 0) // parallel.data)
    sharing = parallel.pipeline * (1 if facts.latent_attention else min(parallel.tensor, facts.kv_heads))
    per_token = kv_bytes_per_token(facts, KV_TYPES[deployment.kv_type].bits) / sharing
    running = streams * _seen(facts, held_tokens(workload))
    return per_token * max(running, _seen(facts, workload.context_tokens))


def held_tokens(workload: Workload) -> float:
    """Return the tokens that a running request holds on average: its prompt and half of its answer.

    Of lengths that differ, the mean or median counts where it is given, else the shortest; of conversations the first
    turn.
    """
    prompt, answer = (_usual(length) for length in (workload.input_tokens, workload.output_tokens))
    return prompt + answer / 2


def _usual(length: int | Length) -> float:
    if not isinstance(length, Length):
        return length
    middle = length.mean if length.mean is not None else length.median
    return length.least if middle is None else min(max(middle, length.least), length.most)


def _seen(facts: ModelFacts, tokens: float) -> float:
    """Tokens that one request keeps, layers with a sliding window keeping no more than that."""
    if not facts.sliding_layers:
        return tokens
    sliding = facts.sliding_layers / facts.layers
    return tokens * (1 - sliding) + min(tokens, facts.window) * sliding


def _bits(deployment: Deployment, *, experts: bool) -> float:
    """Bits of a weight: what is only of the experts leaves the rest in 16 bits, by checkpoint or while loading."""
    precision = QUANTIZATIONS[deployment.quantization]
    needs = precision.engines.get(deployment.engine.name)
    made = needs is not None and needs.online is not None and deployment.engine.args.get("quantization") == needs.online
    only_experts = precision.layers == "experts" or (made and needs is not None and needs.online_of == "experts")
    return PLAIN_BITS if only_experts and not experts else precision.bits
