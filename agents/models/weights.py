"""Random weights of a Qwen3 or Qwen3-MoE configuration: one draw, the source of every format and precision.

Names and shapes are those of a Hugging Face checkpoint; GGUF holds the same tensors under other names, with the
experts of a layer stacked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Floats = np.ndarray[tuple[int, ...], np.dtype[np.float32]]
Config = dict[str, Any]

SEED = 7
_UNLIKELY_SCALE = 1 / 8
# Values are uniform: such draws are the same on every machine, normal ones go through its libm. Half the width of a
# uniform distribution is this many standard deviations.
_WIDTH = float(np.sqrt(3.0))


@dataclass(frozen=True)
class Spec:
    """One tensor to be. ``role`` is ``norm`` (ones), ``embedding``, ``router`` or ``linear``.

    ``hf`` is its name in a Hugging Face checkpoint, or one name per expert; ``gguf`` the one in GGUF. ``shape`` is
    (rows out, columns in), after the number of experts where there are several names.
    """

    hf: tuple[str, ...]
    gguf: str
    shape: tuple[int, ...]
    role: str


@dataclass(frozen=True)
class Tensor:
    """A tensor with its float32 values, of ``spec.shape``."""

    spec: Spec
    values: Floats


def tensors(config: Config, unlikely: Sequence[int] = (), seed: int = SEED) -> Iterator[Tensor]:
    """Yield all tensors in the order of the model, always with the same values for the same arguments.

    The tokens ``unlikely`` get small embeddings, so that their logits stay near zero and other tokens win. Engines
    hold back a token that is no whole text, and its time of arrival would be lost.
    """
    source = np.random.Generator(np.random.Philox(seed))
    for spec in specs(config):
        values = _draw(source, spec)
        if spec.role == "embedding":
            values[list(unlikely)] *= np.float32(_UNLIKELY_SCALE)
        yield Tensor(spec, values)


def specs(config: Config) -> Iterator[Spec]:
    """Yield what the checkpoint of ``config`` holds, in the order of the model. Embeddings are tied."""
    hidden = config["hidden_size"]
    yield Spec(("model.embed_tokens.weight",), "token_embd.weight", (config["vocab_size"], hidden), "embedding")
    for layer in range(config["num_hidden_layers"]):
        theirs, ours = f"model.layers.{layer}", f"blk.{layer}"
        yield Spec((f"{theirs}.input_layernorm.weight",), f"{ours}.attn_norm.weight", (hidden,), "norm")
        yield from _attention(config, f"{theirs}.self_attn", ours)
        yield Spec((f"{theirs}.post_attention_layernorm.weight",), f"{ours}.ffn_norm.weight", (hidden,), "norm")
        yield from (_experts if is_moe(config) else _dense)(config, f"{theirs}.mlp", ours)
    yield Spec(("model.norm.weight",), "output_norm.weight", (hidden,), "norm")


def is_moe(config: Config) -> bool:
    """Return whether the configuration has experts."""
    return "num_experts" in config


def _attention(config: Config, theirs: str, ours: str) -> Iterator[Spec]:
    hidden, head = config["hidden_size"], config["head_dim"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    yield Spec((f"{theirs}.q_proj.weight",), f"{ours}.attn_q.weight", (queries, hidden), "linear")
    yield Spec((f"{theirs}.k_proj.weight",), f"{ours}.attn_k.weight", (keys, hidden), "linear")
    yield Spec((f"{theirs}.v_proj.weight",), f"{ours}.attn_v.weight", (keys, hidden), "linear")
    yield Spec((f"{theirs}.o_proj.weight",), f"{ours}.attn_output.weight", (hidden, queries), "linear")
    yield Spec((f"{theirs}.q_norm.weight",), f"{ours}.attn_q_norm.weight", (head,), "norm")
    yield Spec((f"{theirs}.k_norm.weight",), f"{ours}.attn_k_norm.weight", (head,), "norm")


def _dense(config: Config, theirs: str, ours: str) -> Iterator[Spec]:
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    for part, shape in (("gate", (inner, hidden)), ("up", (inner, hidden)), ("down", (hidden, inner))):
        yield Spec((f"{theirs}.{part}_proj.weight",), f"{ours}.ffn_{part}.weight", shape, "linear")


def _experts(config: Config, theirs: str, ours: str) -> Iterator[Spec]:
    hidden, inner, experts = config["hidden_size"], config["moe_intermediate_size"], config["num_experts"]
    yield Spec((f"{theirs}.gate.weight",), f"{ours}.ffn_gate_inp.weight", (experts, hidden), "router")
    for part, shape in (("gate", (inner, hidden)), ("up", (inner, hidden)), ("down", (hidden, inner))):
        names = tuple(f"{theirs}.experts.{expert}.{part}_proj.weight" for expert in range(experts))
        yield Spec(names, f"{ours}.ffn_{part}_exps.weight", (experts, *shape), "linear")


def _draw(source: np.random.Generator, spec: Spec) -> Floats:
    """Return values of mean 0 and, in a matrix with n columns, variance 1/n: what goes in keeps its size going out."""
    if spec.role == "norm":
        return np.ones(spec.shape, np.float32)
    width = _WIDTH / np.sqrt(spec.shape[-1])
    unit = source.random(spec.shape, np.float32)
    return (2 * unit - 1) * np.float32(width)
