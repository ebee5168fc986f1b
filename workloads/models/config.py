"""Facts of a model from its Hugging Face ``config.json``.

Covers decoder-only models of the Llama family: RMS norms, gated feed-forward layers, grouped or latent attention, with
or without routed and shared experts. What is built otherwise is refused rather than guessed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.models.facts import ModelFacts

UNGATED = frozenset(
    {
        "bloom",
        "codegen",
        "falcon",
        "gpt2",
        "gpt_bigcode",
        "gpt_neo",
        "gpt_neox",
        "gptj",
        "mpt",
        "nemotron",
        "opt",
        "phi",
    }
    | {"starcoder2", "stablelm_epoch", "t5", "whisper", "bert", "llama4", "llama4_text"}
)
"""Model types whose layers are built otherwise than the formulas below say."""
RECURRENT_KEYS = ("linear_num_key_heads", "mamba_d_state", "ssm_cfg", "ssm_state_size", "hybrid_override_pattern")
"""Keys that tell of layers with a recurrent state in place of attention."""
QK_NORM = frozenset({"qwen3", "qwen3_moe", "olmoe"})
"""Model types that normalise queries and keys; the weights are head_dim long (olmoe: longer, and negligible)."""


def facts_from_config(config: Mapping[str, Any]) -> ModelFacts:
    """Return the facts of the model that ``config`` (a Hugging Face ``config.json``) describes.

    Raises BadInput where a key is missing or the architecture is not one that this can count.
    """
    text = config.get("text_config")
    if isinstance(text, Mapping):
        config = text
    _refuse_others(config)
    shape = _Shape.of(config)
    sparse = sum(_is_sparse(config, layer) for layer in range(shape.layers)) if shape.experts else 0
    routed = sparse * shape.experts * shape.expert_params
    embedding = shape.vocab * shape.hidden
    total = (
        embedding * (1 if shape.tied else 2)
        + shape.hidden
        + shape.layers * (_attention_params(config, shape) + 2 * shape.hidden)
        + (shape.layers - sparse) * _dense_params(config, shape.hidden)
        + sparse * _shared_params(config, shape)
        + routed
    )
    idle = routed - sparse * shape.experts_per_token * shape.expert_params
    sliding = _sliding_layers(config, shape.layers)
    return ModelFacts(
        architecture="moe" if sparse else "dense",
        total_params=total,
        active_params=total - idle,
        embedding_params=embedding,
        expert_params=routed,
        tied_embeddings=shape.tied,
        layers=shape.layers,
        hidden=shape.hidden,
        heads=shape.heads,
        kv_heads=shape.kv_heads,
        head_dim=shape.head_dim,
        experts=shape.experts if sparse else 0,
        experts_per_token=shape.experts_per_token if sparse else 0,
        vocab=shape.vocab,
        kv_elements=shape.layers * _kv_elements(config, shape),
        attention_width=_attention_width(config, shape),
        sliding_layers=sliding,
        window=int(config.get("sliding_window") or 0) if sliding else 0,
        context=config.get("max_position_embeddings"),
        inner=_need(config, "intermediate_size") if sparse < shape.layers else 0,
        expert_inner=_need(config, "moe_intermediate_size", "intermediate_size") if sparse else 0,
    )


@dataclass(frozen=True)
class _Shape:
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab: int
    tied: bool
    experts: int
    experts_per_token: int
    expert_params: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> _Shape:
        hidden, heads = _need(config, "hidden_size"), _need(config, "num_attention_heads")
        experts = _first(config, "num_experts", "num_local_experts", "n_routed_experts") or 0
        experts = experts if experts > 1 else 0
        per_token = _need(config, "num_experts_per_tok", "experts_per_token") if experts else 0
        return cls(
            hidden=hidden,
            layers=_need(config, "num_hidden_layers"),
            heads=heads,
            kv_heads=_first(config, "num_key_value_heads") or heads,
            head_dim=_first(config, "head_dim") or hidden // heads,
            vocab=_need(config, "vocab_size"),
            tied=bool(config.get("tie_word_embeddings", False)),
            experts=experts,
            experts_per_token=per_token,
            expert_params=_expert_params(config, hidden) if experts else 0,
        )


def _refuse_others(config: Mapping[str, Any]) -> None:
    kind = str(config.get("model_type", "unknown"))
    recurrent = [key for key in RECURRENT_KEYS if config.get(key) is not None]
    if kind in UNGATED or recurrent or config.get("is_encoder_decoder"):
        raise BadInput(f"the parameters of model type {kind!r} cannot be computed from its config.json")


def _is_sparse(config: Mapping[str, Any], layer: int) -> bool:
    if layer in (config.get("mlp_only_layers") or ()) or layer < (config.get("first_k_dense_replace") or 0):
        return False
    step = _first(config, "decoder_sparse_step", "moe_layer_freq") or 1
    offset = 1 if "decoder_sparse_step" in config else 0
    return (layer + offset) % step == 0


def _attention_params(config: Mapping[str, Any], shape: _Shape) -> int:
    if config.get("kv_lora_rank"):
        return _latent_attention_params(config, shape)
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    params = 2 * shape.hidden * (queries + keys)
    kind = config.get("model_type")
    if config.get("attention_bias"):
        params += queries + 2 * keys + shape.hidden
    elif kind in ("qwen2", "qwen2_moe"):
        params += queries + 2 * keys
    if kind in QK_NORM:
        params += 2 * shape.head_dim
    if kind == "gpt_oss":
        params += shape.heads
    return params


def _latent_attention_params(config: Mapping[str, Any], shape: _Shape) -> int:
    rank, rope = _need(config, "kv_lora_rank"), _need(config, "qk_rope_head_dim")
    nope, value = _need(config, "qk_nope_head_dim"), _need(config, "v_head_dim")
    query_rank = config.get("q_lora_rank")
    wide = shape.heads * (nope + rope)
    queries = shape.hidden * query_rank + query_rank + query_rank * wide if query_rank else shape.hidden * wide
    down = shape.hidden * (rank + rope) + rank
    up = rank * shape.heads * (nope + value)
    return int(queries + down + up + shape.heads * value * shape.hidden)


def _kv_elements(config: Mapping[str, Any], shape: _Shape) -> int:
    if config.get("kv_lora_rank"):
        return _need(config, "kv_lora_rank") + _need(config, "qk_rope_head_dim")
    return 2 * shape.kv_heads * shape.head_dim


def _attention_width(config: Mapping[str, Any], shape: _Shape) -> int:
    if config.get("kv_lora_rank"):
        # Absorbed form, as engines decode: scores over rank + rope, values over rank.
        return shape.heads * (2 * _need(config, "kv_lora_rank") + _need(config, "qk_rope_head_dim"))
    return 2 * shape.heads * shape.head_dim


def _dense_params(config: Mapping[str, Any], hidden: int) -> int:
    return 3 * hidden * _need(config, "intermediate_size")


def _expert_params(config: Mapping[str, Any], hidden: int) -> int:
    inner = _need(config, "moe_intermediate_size", "intermediate_size")
    biases = 2 * inner + hidden if config.get("model_type") == "gpt_oss" else 0
    return 3 * hidden * inner + biases


def _shared_params(config: Mapping[str, Any], shape: _Shape) -> int:
    """Router and shared experts of one sparse layer."""
    router = shape.hidden * shape.experts + (shape.experts if config.get("model_type") == "gpt_oss" else 0)
    gated_inner = config.get("shared_expert_intermediate_size") or 0
    gate = shape.hidden if gated_inner else 0
    plain_inner = (config.get("n_shared_experts") or 0) * (config.get("moe_intermediate_size") or 0)
    return int(router + gate + 3 * shape.hidden * (gated_inner + plain_inner))


def _sliding_layers(config: Mapping[str, Any], layers: int) -> int:
    if not config.get("sliding_window") or config.get("use_sliding_window") is False:
        return 0
    kinds = config.get("layer_types")
    if kinds:
        return sum(kind == "sliding_attention" for kind in kinds)
    if config.get("model_type") == "gpt_oss":
        return (layers + 1) // 2
    return layers if config.get("model_type") in ("mistral", "mixtral") else 0


def _first(config: Mapping[str, Any], *names: str) -> int | None:
    values = (config.get(name) for name in names)
    return next((int(v) for v in values if v is not None), None)


def _need(config: Mapping[str, Any], *names: str) -> int:
    value = _first(config, *names)
    if value is None:
        raise BadInput(f"config.json lacks {' or '.join(names)}")
    return value
