"""From a deployment to the machine that stands for it."""

from __future__ import annotations

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Deployment
from joulemark.workloads.memory import weight_bytes
from joulemark.workloads.models.facts import ModelFacts, kv_bytes_per_token
from joulemark.workloads.precision import KV_TYPES, QUANTIZATIONS
from joulemark.workloads.shapes import shape_reasons
from joulemark.workloads.simulation.hardware import SimulatedGpu, parameters, simulated_gpus
from joulemark.workloads.simulation.machine import Machine

ACTIVATION_BYTES = 2
PLAIN_FORMAT = "bf16"
COMPUTED_IN = {"fp8": "fp8", "mxfp8": "fp8", "int8-w8a8": "int8", "nvfp4": "fp4", "mxfp4": "fp4"}
"""Formats that are multiplied as they are, where the GPU can; all others are unpacked to 16 bits."""
ALL_REDUCES_PER_LAYER = 2
"""After attention and after the feed-forward layer (Shoeybi et al. 2019, "Megatron-LM", section 3)."""


def why_not(deployment: Deployment, facts: ModelFacts | None) -> str | None:
    """Return why a deployment cannot be simulated, or None."""
    if deployment.on_cpu:
        return f"CPUs are not simulated: name an accelerator ({', '.join(simulated_gpus())})"
    gpu = simulated_gpus().get(deployment.accelerator)
    if gpu is None:
        return f"no figures of {deployment.accelerator} to simulate it by; there are {', '.join(simulated_gpus())}"
    if facts is None:
        return f"the shape of {deployment.model.name} is not known: only models of the catalogue can be simulated"
    if deployment.power_limit_w is not None and not gpu.idle_w[1] < deployment.power_limit_w <= gpu.limit_w:
        return f"the power limit of {gpu.label} is over {gpu.idle_w[1]:g} W and up to {gpu.limit_w:g} W"
    if _room_bytes(deployment, facts, gpu) <= 0:
        return f"the weights of {deployment.model.name} do not fit on {deployment.parallel.devices} x {gpu.label}"
    # A real engine could not share the model out so either.
    return next(shape_reasons(deployment, facts), None)


def machine_of(deployment: Deployment, facts: ModelFacts | None) -> Machine:
    """Return the machine. Raises BadInput, saying why, where the deployment cannot be simulated."""
    refusal = why_not(deployment, facts)
    if refusal is not None or facts is None:
        raise BadInput(refusal or "")
    gpu, assumed = simulated_gpus()[deployment.accelerator], {n: p.value for n, p in parameters().items()}
    parallel = deployment.parallel
    lanes = parallel.data * parallel.pipeline
    in_pairs = parallel.tensor * parallel.pipeline
    per_token = kv_bytes_per_token(facts, KV_TYPES[deployment.kv_type].bits)
    # Latent attention keeps one vector that devices cannot share out; heads are, at most one to a device.
    per_device = per_token / (1 if facts.latent_attention else min(parallel.tensor, facts.kv_heads))
    lookup = facts.embedding_params
    experts_b, others_b = _weights(deployment, facts)
    head = 2.0 * facts.embedding_params
    peak = gpu.peak_flops
    limit_w = float(deployment.power_limit_w or gpu.limit_w)
    efficiency = assumed["compute_efficiency"]
    return Machine(
        devices=parallel.devices,
        tensor=parallel.tensor,
        lanes=lanes,
        matmul_flops_per_token=2.0 * (facts.active_params - lookup - (0 if facts.tied_embeddings else lookup)),
        head_flops_per_token=head,
        attention_flops_per_pair=2.0 * facts.attention_width * facts.layers,
        sliding_share=facts.sliding_layers / facts.layers,
        window=facts.window,
        # A step of a pipeline goes through all stages: it reads all their weights, one after the other.
        weight_bytes=others_b * parallel.pipeline,
        expert_bytes=experts_b * parallel.pipeline,
        expert_miss=1.0 - facts.experts_per_token / facts.experts if facts.experts else 1.0,
        expert_lanes=parallel.data if parallel.expert else 1,
        kv_bytes_per_token=per_device,
        all_reduces=ALL_REDUCES_PER_LAYER * facts.layers if parallel.tensor > 1 or parallel.expert else 0,
        all_reduce_bytes_per_token=2 * facts.hidden * ACTIVATION_BYTES * (in_pairs - 1) / in_pairs,
        matmul_flops_per_s=peak[format_of(deployment.quantization, gpu)] * efficiency,
        attention_flops_per_s=peak[PLAIN_FORMAT] * efficiency,
        memory_bytes_per_s=gpu.memory_bytes_per_s * assumed["memory_efficiency"],
        link_bytes_per_s=gpu.link_bytes_per_s / 2 * assumed["link_efficiency"],
        all_reduce_s=assumed["all_reduce_us"] / 1e6,
        step_s=assumed["step_us"] / 1e6,
        sequence_s=assumed["sequence_us"] / 1e6,
        idle_w=gpu.idle_w[1],
        bare_idle_w=gpu.idle_w[0],
        compute_w=gpu.limit_w - gpu.idle_w[1],
        memory_w=assumed["memory_bound_power"] * gpu.limit_w - gpu.idle_w[1],
        limit_w=limit_w,
        memory_bytes=gpu.memory_bytes,
        kv_tokens=int(_room_bytes(deployment, facts, gpu) / per_device * lanes),
        batched_tokens=int(_number(deployment, "max_batched_tokens") or assumed["batched_tokens"]),
    )


def format_of(quantization: str, gpu: SimulatedGpu) -> str:
    """Return the number format that products are made in."""
    known = QUANTIZATIONS[quantization]
    wanted = COMPUTED_IN.get(quantization) or COMPUTED_IN.get(known.is_a or "") or PLAIN_FORMAT
    return wanted if wanted in gpu.peak_flops else PLAIN_FORMAT


def _weights(deployment: Deployment, facts: ModelFacts) -> tuple[float, float]:
    """Return the bytes of routed experts, and of the weights that every step reads, on one device."""
    parallel = deployment.parallel
    whole = weight_bytes(deployment, facts)
    bits = QUANTIZATIONS[deployment.quantization].bits
    sharing = parallel.tensor * parallel.pipeline * (parallel.data if parallel.expert else 1)
    experts = facts.expert_params * bits / 8 / sharing
    lookup = 0.0 if facts.tied_embeddings else facts.embedding_params * max(bits, 16) / 8
    return experts, whole - experts - lookup / (parallel.tensor * parallel.pipeline)


def _room_bytes(deployment: Deployment, facts: ModelFacts, gpu: SimulatedGpu) -> float:
    """Return what one device has left for the KV cache."""
    fraction = _number(deployment, "memory_fraction") or parameters()["memory_fraction"].value
    return gpu.memory_bytes * fraction - weight_bytes(deployment, facts)


def _number(deployment: Deployment, name: str) -> float | None:
    value = deployment.engine.args.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
