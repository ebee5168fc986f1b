"""llama.cpp computes from the generated files what a plain forward pass computes from the generated weights."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from joulemark.agents.environments import ensure_environment
from joulemark.agents.home import joulemark_home
from joulemark.agents.models import prepare_model
from joulemark.agents.models.tokenizer import project_tokenizer
from joulemark.agents.models.weights import Floats, tensors
from joulemark.workloads.cell import ModelRef
from joulemark.workloads.models.generated import generated_config

PROMPT = (335, 284, 1350, 41, 730, 1118)
ANSWER_TOKENS = 32
SERVE = """
import json, sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.n_ctx, params.n_parallel, params.port = sys.argv[1], 512, 1, 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(params)
pieces = []
body = {"prompt": json.loads(sys.argv[2]), "max_tokens": int(sys.argv[3]), "temperature": 0, "ignore_eos": True}
first = server.handle_completions({**body, "max_tokens": 1, "logprobs": 8})
server.handle_completions({**body, "stream": True, "stream_options": {"include_usage": True}}, pieces.append)
print(json.dumps([first, pieces]))
"""


def forward(preset: str) -> Floats:
    """Return the logarithms of the next token's probabilities, (vocabulary), after ``PROMPT``: Qwen3 in numpy."""
    config = generated_config(preset)
    textless = project_tokenizer(config["vocab_size"]).textless
    weights = {t.spec.gguf.removesuffix(".weight"): t.values for t in tensors(config, textless)}
    stream = weights["token_embd"][list(PROMPT)]
    for layer in range(config["num_hidden_layers"]):
        mine = {k.removeprefix(f"blk.{layer}."): v for k, v in weights.items() if k.startswith(f"blk.{layer}.")}
        stream = stream + attention(config, mine, rms(stream))
        stream = stream + (experts if "num_experts" in config else mlp)(config, mine, rms(stream))
    logits = weights["token_embd"] @ rms(stream)[-1]
    return logits - np.log(np.exp(logits).sum())


def rms(x: Floats) -> Floats:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + 1e-6)


def attention(config: dict[str, Any], w: dict[str, Floats], x: Floats) -> Floats:
    width, heads, groups = config["head_dim"], config["num_attention_heads"], config["num_key_value_heads"]
    split = {name: (x @ w[f"attn_{name}"].T).reshape(len(x), -1, width).transpose(1, 0, 2) for name in "qkv"}
    query, key = rotate(config, rms(split["q"])), rotate(config, rms(split["k"]))
    key, value = (np.repeat(part, heads // groups, axis=0) for part in (key, split["v"]))
    scores = query @ key.transpose(0, 2, 1) / np.sqrt(width)
    scores = np.where(np.tri(len(x), dtype=bool), scores, -np.inf)
    mixed = softmax(scores) @ value
    return mixed.transpose(1, 0, 2).reshape(len(x), -1) @ w["attn_output"].T


def rotate(config: dict[str, Any], x: Floats) -> Floats:
    """Rotary positions over (heads, positions, width), the two halves of the width being the pairs."""
    half = x.shape[-1] // 2
    angles = np.arange(x.shape[1])[:, None] * config["rope_theta"] ** (-np.arange(half) / half)
    one, two = x[..., :half], x[..., half:]
    sin, cos = np.sin(angles), np.cos(angles)
    return np.concatenate([one * cos - two * sin, two * cos + one * sin], axis=-1)


def softmax(x: Floats) -> Floats:
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)


def mlp(config: dict[str, Any], w: dict[str, Floats], x: Floats) -> Floats:
    return swiglu(x, w["ffn_gate"], w["ffn_up"], w["ffn_down"])


def experts(config: dict[str, Any], w: dict[str, Floats], x: Floats) -> Floats:
    shares = softmax(x @ w["ffn_gate_inp"].T)
    out = np.zeros_like(x)
    for position, token in enumerate(x):
        chosen = np.argsort(shares[position])[-config["num_experts_per_tok"] :]
        for expert in chosen:
            parts = (w[f"ffn_{part}_exps"][expert] for part in ("gate", "up", "down"))
            out[position] += shares[position, expert] / shares[position, chosen].sum() * swiglu(token, *parts)
    return out


def swiglu(x: Floats, gate: Floats, up: Floats, down: Floats) -> Floats:
    gated = x @ gate.T
    return (gated / (1 + np.exp(-gated)) * (x @ up.T)) @ down.T


@pytest.fixture(scope="module")
def interpreter() -> Path:
    return ensure_environment("llamacpp-2026.10.11549", joulemark_home(), print)


@pytest.mark.engine
@pytest.mark.parametrize(
    ("preset", "quantization", "tolerance"),
    [
        ("tiny-dense", "f16", 0.03),
        ("tiny-dense", "q8_0", 0.2),
        ("tiny-dense", "q4_0", 1.5),
        ("tiny-moe", "f16", 0.03),
        # A little noise can send a token to other experts.
        ("tiny-moe", "q8_0", 0.6),
        ("tiny-moe", "q4_0", 1.5),
    ],
)
def test_llamacpp_agrees_with_the_weights(
    interpreter: Path, preset: str, quantization: str, tolerance: float, tmp_path: Path
) -> None:
    path = prepare_model(ModelRef(preset, "generated", preset), quantization, "gguf", tmp_path)
    command = [str(interpreter), "-c", SERVE, str(path), json.dumps(PROMPT), str(ANSWER_TOKENS)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    first, pieces = json.loads(done.stdout.splitlines()[-1])
    expected = forward(preset)
    top = first["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    found = {item["id"]: item["logprob"] for item in top}
    differences = {token: logprob - expected[token] for token, logprob in found.items()}
    assert max(map(abs, differences.values())) < tolerance, differences
    if quantization == "f16":
        assert int(np.argmax(expected)) == max(found, key=lambda token: found[token])
    # Every token of the answer is whole text, so each arrives in a chunk of its own.
    assert sum(bool(p["choices"] and p["choices"][0]["text"]) for p in pieces) == ANSWER_TOKENS
    assert pieces[-1]["usage"]["completion_tokens"] == ANSWER_TOKENS
