"""Whether a model can be shared out over devices as asked: heads, vocabulary, layers, experts, blocks of scales.

The rules are those that the model code of vLLM and SGLang holds on loading: ``divide`` in their parallel layers, the
assertions on heads in their model classes, ``pad_vocab_size`` (to 64), and ``validate_fp8_block_shape``.
"""

from __future__ import annotations

from collections.abc import Iterator

from joulemark.workloads.cell import Deployment
from joulemark.workloads.models.catalogue import stored_precision
from joulemark.workloads.models.facts import ModelFacts
from joulemark.workloads.precision import QUANTIZATIONS

VOCABULARY_PADDING = 64


def shape_reasons(deployment: Deployment, facts: ModelFacts) -> Iterator[str]:
    """Yield why the model cannot be shared out so; nothing where it can, as far as that is known."""
    parallel = deployment.parallel
    if deployment.engine.name == "llamacpp":
        return
    if deployment.on_cpu:
        yield from _on_cpu(deployment)
    if parallel.expert and not facts.experts:
        yield f"expert parallelism needs experts, and {deployment.model.name} has none"
    if _is_made_of_experts(deployment) and not facts.experts:
        yield (
            f"{deployment.engine.name} makes {deployment.quantization} of experts only, and {deployment.model.name} "
            "has none: it would run as it is"
        )
    if parallel.pipeline > facts.layers:
        yield f"{parallel.pipeline} pipeline stages are more than the {facts.layers} layers of {deployment.model.name}"
    if parallel.tensor > 1:
        yield from _tensor(deployment, facts)
    if parallel.expert and deployment.engine.name == "sglang" and facts.experts % (parallel.tensor * parallel.data):
        yield f"{facts.experts} experts cannot be shared out evenly over {parallel.tensor * parallel.data} devices"


def _tensor(deployment: Deployment, facts: ModelFacts) -> Iterator[str]:
    size, name = deployment.parallel.tensor, deployment.model.name
    if facts.heads % size:
        yield f"{facts.heads} attention heads of {name} cannot be shared out evenly over {size} devices (tensor)"
    if not facts.latent_attention and facts.kv_heads % size and size % facts.kv_heads:
        yield (
            f"{facts.kv_heads} key-value heads of {name} can neither be shared out nor repeated evenly over {size} "
            "devices (tensor)"
        )
    padded = -(-facts.vocab // VOCABULARY_PADDING) * VOCABULARY_PADDING
    if padded % size:
        yield f"the vocabulary of {name} ({padded} with padding) cannot be shared out over {size} devices (tensor)"
    yield from _widths(deployment, facts)


def _widths(deployment: Deployment, facts: ModelFacts) -> Iterator[str]:
    size, name = deployment.parallel.tensor, deployment.model.name
    precision = stored_precision(deployment)
    block = QUANTIZATIONS[precision].block
    # Experts that are parallel stay whole. Kernels for 4-bit experts pad or repeat scales; those for blocks do not.
    experts = 0 if deployment.parallel.expert else facts.expert_inner
    checks = (
        ("feed-forward", facts.inner, block, ""),
        ("expert", experts, block if precision == "fp8-block" else None, ", or expert: true"),
    )
    for what, width, scaled, also in checks:
        if width % size:
            yield f"the {what} width {width} of {name} cannot be shared out evenly over {size} devices (tensor)"
        elif scaled is not None and width // size % scaled:
            yield (
                f"the {what} width {width} of {name} over {size} devices (tensor) is {width // size}, which cuts the "
                f"blocks of {scaled} that {precision} has one scale for: a smaller tensor size{also}"
            )


def _on_cpu(deployment: Deployment) -> Iterator[str]:
    """What vLLM's CPU build was seen to fail at."""
    parallel = deployment.parallel
    if deployment.engine.name != "vllm":
        return
    if parallel.pipeline > 1:
        yield "vllm on the CPU has no pipeline parallelism"
    if parallel.expert and parallel.tensor > 1:
        yield "vllm on the CPU breaks (segmentation fault) with expert and tensor parallelism together"


def _is_made_of_experts(deployment: Deployment) -> bool:
    needs = QUANTIZATIONS[deployment.quantization].engines.get(deployment.engine.name)
    if needs is None or needs.online_of != "experts":
        return False
    return deployment.engine.args.get("quantization") == needs.online
