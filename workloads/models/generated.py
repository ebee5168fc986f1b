"""The presets of generated models: Hugging Face configurations of models that joulemark makes itself.

Their weights are random, so their answers mean nothing; the work per token is that of a real architecture.
"""

from __future__ import annotations

from typing import Any

from joulemark.warehouse.errors import UnknownModel

PRESETS = ("tiny-dense", "tiny-moe")
_QUANTIZATIONS = {
    "hf": ("bf16", "fp16", "fp8", "int8-w8a8", "w4a16", "gptq", "awq"),
    "gguf": ("f16", "q8_0", "q4_0"),
}


def generated_config(preset: str) -> dict[str, Any]:
    """Return a new Hugging Face ``config.json`` of ``preset``, complete for its Qwen3 model class.

    Raises UnknownModel where there is no such preset.
    """
    if preset == "tiny-dense":
        return {**_shared(), "architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3"}
    if preset == "tiny-moe":
        return {**_shared(), **_experts(), "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe"}
    raise UnknownModel(f"no generated model is called {preset!r}; there are: {', '.join(PRESETS)}")


def generated_quantizations(preset: str, weights_format: str) -> tuple[str, ...]:
    """Return the precisions that ``preset`` is made in, as ``hf`` or as ``gguf``."""
    if preset not in PRESETS:
        raise UnknownModel(f"no generated model is called {preset!r}; there are: {', '.join(PRESETS)}")
    return _QUANTIZATIONS[weights_format]


def _shared() -> dict[str, Any]:
    return {
        "hidden_size": 384,
        "intermediate_size": 1152,
        "num_hidden_layers": 8,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "head_dim": 64,
        "vocab_size": 2048,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        # Older releases of transformers read the first key, newer ones the second.
        "rope_theta": 10000.0,
        "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
        "hidden_act": "silu",
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "torch_dtype": "bfloat16",
        "dtype": "bfloat16",
        "use_cache": True,
        "initializer_range": 0.02,
        "use_sliding_window": False,
        "sliding_window": None,
        "max_window_layers": 8,
    }


def _experts() -> dict[str, Any]:
    return {
        "moe_intermediate_size": 384,
        "num_experts": 8,
        "num_experts_per_tok": 2,
        "norm_topk_prob": True,
        "decoder_sparse_step": 1,
        "mlp_only_layers": [],
        "output_router_logits": False,
        "router_aux_loss_coef": 0.001,
    }
