"""What one step of a serving engine costs: a roofline for its time, utilisation for its power. Numbers only.

A step takes every running request one token further and works on so many tokens of prompts besides. Linear layers and
attention come one after the other; each takes as long as its arithmetic or its memory traffic, whichever is longer
(Williams et al. 2009, "Roofline"). Nothing here is imported that takes time: the server of the simulated engine gets
a machine as JSON.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Machine:
    """A model on the devices of one deployment.

    ``lanes`` are the replicas and pipeline stages that share the requests out between them, ``tensor`` the devices
    that work on one token together; rates and bytes are of one device, FLOPs of the whole model.
    """

    devices: int
    tensor: int
    lanes: int
    # Work
    matmul_flops_per_token: float
    head_flops_per_token: float
    attention_flops_per_pair: float
    """For one token that sees one other, over all layers."""
    sliding_share: float
    """Share of layers that see the last ``window`` tokens only."""
    window: int
    weight_bytes: float
    """Weights that every step reads, on one device."""
    expert_bytes: float
    """All routed experts, on one device."""
    expert_miss: float
    """Probability that one token leaves a given expert out; 1 where there are none."""
    expert_lanes: int
    """Lanes whose tokens meet in the same experts."""
    kv_bytes_per_token: float
    all_reduces: int
    all_reduce_bytes_per_token: float
    # Speed
    matmul_flops_per_s: float
    attention_flops_per_s: float
    memory_bytes_per_s: float
    link_bytes_per_s: float
    all_reduce_s: float
    step_s: float
    sequence_s: float
    # Power of one device
    idle_w: float
    bare_idle_w: float
    compute_w: float
    """More than idle, with the arithmetic units at work all the time."""
    memory_w: float
    """More than idle, with the memory at work all the time."""
    limit_w: float
    # Room
    memory_bytes: float
    """Of one device."""
    kv_tokens: int
    """Tokens that the KV cache of all devices holds."""
    batched_tokens: int
    """Most tokens in one step."""


@dataclass(frozen=True)
class Load:
    """The work of one step: requests that get a token, tokens that these see, and prompt tokens.

    ``seen`` is the sum of the contexts of the decoding requests, ``prompt_seen`` the same over prompt tokens.
    ``logits`` counts the tokens whose answer is drawn: the decoding ones and prompts that end.
    """

    decoding: int
    seen: int
    prompt_tokens: int = 0
    prompt_seen: int = 0
    logits: int = 0


@dataclass(frozen=True)
class Cost:
    """What a step takes. ``watts`` are of one device, as are FLOPs and bytes; shares are of the step's time."""

    seconds: float
    watts: float
    flops: float
    read_bytes: float
    compute_share: float
    memory_share: float


def cost(machine: Machine, load: Load) -> Cost:
    """Return what a step costs; ``load`` is shared out evenly over the lanes."""
    m = machine
    tokens = (load.decoding + load.prompt_tokens) / m.lanes
    matmul = (tokens * m.matmul_flops_per_token + load.logits / m.lanes * m.head_flops_per_token) / m.tensor
    seen = _within_window(m, load.seen, load.decoding) / m.lanes
    prompt_seen = _within_window(m, load.prompt_seen, load.prompt_tokens) / m.lanes
    attention = (seen + prompt_seen) * m.attention_flops_per_pair / m.tensor
    touched = 1.0 - m.expert_miss ** (tokens * m.expert_lanes)
    weights = m.weight_bytes + m.expert_bytes * touched
    # Queries of one prompt share what they read of it; what is written is as much as what is read once.
    cache = (seen + tokens) * m.kv_bytes_per_token
    compute = matmul / m.matmul_flops_per_s, attention / m.attention_flops_per_s
    memory = weights / m.memory_bytes_per_s, cache / m.memory_bytes_per_s
    busy_s = max(compute[0], memory[0]) + max(compute[1], memory[1])
    links_s = m.all_reduces * (m.all_reduce_s + tokens * m.all_reduce_bytes_per_token / m.link_bytes_per_s)
    seconds = busy_s + links_s + m.step_s + load.decoding / m.lanes * m.sequence_s
    shares = sum(compute) / seconds, sum(memory) / seconds
    extra_w = shares[0] * m.compute_w + shares[1] * m.memory_w
    slower = _slowdown(extra_w, m.limit_w - m.idle_w)
    watts = min(m.limit_w, m.idle_w + extra_w)
    # Over a pipeline, all stages work on parts of the batch at the same time.
    return Cost(
        seconds * slower,
        watts,
        matmul + attention,
        weights + cache,
        min(1.0, shares[0] / slower),
        min(1.0, shares[1] / slower),
    )


def _slowdown(extra_w: float, room_w: float) -> float:
    """Return how much longer a step takes under the power limit.

    Dynamic power goes about with the cube of the clock, as voltage goes with it, and time with its inverse.
    """
    return 1.0 if extra_w <= room_w else float((extra_w / room_w) ** (1 / 3))


def _within_window(machine: Machine, seen: float, tokens: float) -> float:
    """Return how many tokens are seen where part of the layers look back no further than the window."""
    if not machine.sliding_share or not tokens:
        return seen
    near = min(seen, tokens * machine.window)
    return seen * (1 - machine.sliding_share) + near * machine.sliding_share
