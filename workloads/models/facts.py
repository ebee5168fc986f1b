"""What follows from a model's shape: parameters, FLOPs and bytes per token.

Units: parameters and elements are counts, FLOPs count a multiply-add as two, bytes are bytes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelFacts:
    """The shape of a decoder-only model.

    ``total_params`` counts every weight once (tied embeddings once). ``active_params`` are the weights of the layers
    that one token passes through: all but the routed experts that are not chosen. It includes both embedding tables,
    as Qwen and Mistral count; OpenAI leaves out the input table, so its published figures for gpt-oss are this one
    less ``embedding_params``. ``expert_params`` are all routed experts together. ``kv_elements`` is what one token
    adds to the KV cache, over all layers. Of ``layers``, ``sliding_layers`` attend to the last ``window`` tokens only.
    ``inner`` and ``expert_inner`` are the widths inside the feed-forward layers and inside one routed expert.
    """

    architecture: str
    total_params: int
    active_params: int
    embedding_params: int
    expert_params: int
    tied_embeddings: bool
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    experts: int
    experts_per_token: int
    vocab: int
    kv_elements: int
    attention_width: int
    """Elements of one layer's queries plus its values, over all heads: 2 x heads x head_dim in ordinary attention."""
    sliding_layers: int = 0
    window: int = 0
    context: int | None = None
    inner: int = 0
    expert_inner: int = 0

    @property
    def latent_attention(self) -> bool:
        """Whether the KV cache holds one compressed vector per layer and token, which devices cannot share out."""
        return self.kv_elements != 2 * self.layers * self.kv_heads * self.head_dim


def flops_per_token(facts: ModelFacts, context_tokens: float) -> float:
    """Return the FLOPs of one forward pass for one token that sees ``context_tokens`` tokens.

    Two per weight that takes part in a product (Kaplan et al. 2020, "Scaling Laws for Neural Language Models", table
    1), plus 4 x layers x heads x head_dim x context for attention: a third of the 12LHQT that Chowdhery et al. 2022
    ("PaLM", appendix B) give for forward and backward. Looking up the input embedding is no product, so that an
    untied table does not count. For a whole prompt of n tokens use the mean context, n / 2.
    """
    matmul = facts.active_params - (0 if facts.tied_embeddings else facts.embedding_params)
    seen = (facts.layers - facts.sliding_layers) * context_tokens
    seen += facts.sliding_layers * min(context_tokens, facts.window)
    return 2.0 * matmul + 2.0 * facts.attention_width * seen


def experts_touched(facts: ModelFacts, batch: float) -> float:
    """Return how many of a layer's experts a batch of ``batch`` tokens is expected to need.

    E x (1 - (1 - k/E)^batch) with k of E experts per token: each token leaves a given expert out with probability
    1 - k/E, tokens taken as independent and routing as even (the occupancy problem; real routing is less even, so
    this is an upper bound).
    """
    if facts.experts == 0:
        return 0.0
    return float(facts.experts * (1.0 - (1.0 - facts.experts_per_token / facts.experts) ** batch))


def weight_bytes_per_token(facts: ModelFacts, bits: float, batch: float = 1.0) -> float:
    """Return the bytes of weights that decoding reads per answer token, ``batch`` tokens being decoded together.

    Every weight that a step needs is read once per step and shared by the batch (Pope et al. 2022, "Efficiently
    Scaling Transformer Inference", section 2); of the routed experts those of ``experts_touched``. ``bits`` per
    weight is taken as the same everywhere, though embeddings and norms often stay at 16.
    """
    lookup = 0 if facts.tied_embeddings else facts.embedding_params
    weights = float(facts.total_params - facts.expert_params - lookup)
    if facts.experts:
        weights += facts.expert_params * experts_touched(facts, batch) / facts.experts
    return weights * bits / 8.0 / batch


def kv_bytes_per_token(facts: ModelFacts, kv_bits: float) -> float:
    """Return the bytes that one token takes in the KV cache, all layers together.

    2 x layers x kv_heads x head_dim elements (Shazeer 2019, "Fast Transformer Decoding"; Ainslie et al. 2023, "GQA");
    with multi-head latent attention (kv_lora_rank + qk_rope_head_dim) x layers (DeepSeek-AI 2024, "DeepSeek-V2",
    section 2.1). Layers with a sliding window are counted as if their tokens stayed.
    """
    return facts.kv_elements * kv_bits / 8.0
