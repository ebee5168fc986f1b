"""Writing GGUF files (version 3): key-value pairs, a table of tensors, the tensors aligned to 32 bytes."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from joulemark.agents.models.numbers import to_q4_0, to_q8_0
from joulemark.agents.models.tokenizer import CHAT_TEMPLATE, END_OF_MESSAGE, END_OF_TEXT, SPECIALS, Tokenizer
from joulemark.agents.models.weights import Config, Floats, Tensor, is_moe, tensors

_ALIGNMENT = 32
_U32, _I32, _F32, _BOOL, _TEXT, _LIST = 4, 5, 6, 7, 8, 9
_NORMAL_TOKEN, _CONTROL_TOKEN = 1, 3


@dataclass(frozen=True)
class Format:
    """How tensors are stored: the number of the type in ggml, the number of such a file in llama.cpp, the encoder."""

    tensor_type: int
    file_type: int
    encode: Callable[[Floats], bytes]


_EXACT = Format(0, 0, lambda values: values.astype("<f4").tobytes())
_Q8_0 = Format(8, 7, to_q8_0)
FORMATS = {
    "f16": Format(1, 1, lambda values: values.astype("<f2").tobytes()),
    "q8_0": _Q8_0,
    "q4_0": Format(2, 2, to_q4_0),
}


def write_gguf(path: Path, config: Config, name: str, tokenizer: Tokenizer, quantization: str) -> None:
    """Write the generated weights of ``config`` to ``path``, quantized as one of ``FORMATS``."""
    chosen = FORMATS[quantization]
    pairs = _pairs(config, name, tokenizer, chosen)
    table: list[bytes] = []
    offset = 0
    with path.open("wb") as file:
        encoded = []
        for tensor in tensors(config, tokenizer.textless):
            stored_as = _stored_as(tensor, chosen)
            body = stored_as.encode(tensor.values)
            table.append(_entry(tensor, stored_as.tensor_type, offset))
            encoded.append(body + bytes(-len(body) % _ALIGNMENT))
            offset += len(encoded[-1])
        file.write(struct.pack("<4sIQQ", b"GGUF", 3, len(table), len(pairs)))
        file.write(b"".join(pairs) + b"".join(table))
        file.write(bytes(-file.tell() % _ALIGNMENT))
        file.writelines(encoded)


def _stored_as(tensor: Tensor, chosen: Format) -> Format:
    """Norms and routers stay exact; 4-bit files keep the tied output matrix in 8 bits, as llama.cpp's own do."""
    if tensor.spec.role in ("norm", "router"):
        return _EXACT
    return _Q8_0 if tensor.spec.role == "embedding" and chosen is FORMATS["q4_0"] else chosen


def _entry(tensor: Tensor, tensor_type: int, offset: int) -> bytes:
    shape = tensor.spec.shape
    # ggml counts dimensions from the fastest one.
    sizes = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
    return _string(tensor.spec.gguf) + sizes + struct.pack("<IQ", tensor_type, offset)


def _pairs(config: Config, name: str, tokenizer: Tokenizer, chosen: Format) -> list[bytes]:
    return [
        _text("general.architecture", _architecture(config)),
        _text("general.name", name),
        _number("general.file_type", chosen.file_type),
        _number("general.quantization_version", 2),
        *_shape_pairs(config),
        *_tokenizer_pairs(tokenizer),
    ]


def _architecture(config: Config) -> str:
    return "qwen3moe" if is_moe(config) else "qwen3"


def _shape_pairs(config: Config) -> list[bytes]:
    counts = {
        "context_length": "max_position_embeddings",
        "embedding_length": "hidden_size",
        "block_count": "num_hidden_layers",
        "feed_forward_length": "intermediate_size",
        "attention.head_count": "num_attention_heads",
        "attention.head_count_kv": "num_key_value_heads",
        "attention.key_length": "head_dim",
        "attention.value_length": "head_dim",
    }
    if is_moe(config):
        counts |= {
            "expert_count": "num_experts",
            "expert_used_count": "num_experts_per_tok",
            "expert_feed_forward_length": "moe_intermediate_size",
        }
    prefix = _architecture(config)
    return [
        *(_number(f"{prefix}.{theirs}", config[ours]) for theirs, ours in counts.items()),
        _float(f"{prefix}.rope.freq_base", config["rope_theta"]),
        _float(f"{prefix}.attention.layer_norm_rms_epsilon", config["rms_norm_eps"]),
    ]


def _tokenizer_pairs(tokenizer: Tokenizer) -> list[bytes]:
    specials = len(SPECIALS)
    kinds = np.full(len(tokenizer.vocabulary), _NORMAL_TOKEN, "<i4")
    kinds[:specials] = _CONTROL_TOKEN
    return [
        _text("tokenizer.ggml.model", "gpt2"),
        _text("tokenizer.ggml.pre", "gpt-2"),
        _texts("tokenizer.ggml.tokens", list(tokenizer.vocabulary)),
        _pair("tokenizer.ggml.token_type", _LIST, struct.pack("<IQ", _I32, len(kinds)) + kinds.tobytes()),
        _texts("tokenizer.ggml.merges", [" ".join(pair) for pair in tokenizer.merges]),
        _number("tokenizer.ggml.bos_token_id", END_OF_TEXT),
        _number("tokenizer.ggml.eos_token_id", END_OF_MESSAGE),
        _number("tokenizer.ggml.padding_token_id", END_OF_TEXT),
        _pair("tokenizer.ggml.add_bos_token", _BOOL, b"\0"),
        _text("tokenizer.chat_template", CHAT_TEMPLATE),
    ]


def _string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def _pair(key: str, kind: int, value: bytes) -> bytes:
    return _string(key) + struct.pack("<I", kind) + value


def _number(key: str, value: int) -> bytes:
    return _pair(key, _U32, struct.pack("<I", value))


def _float(key: str, value: float) -> bytes:
    return _pair(key, _F32, struct.pack("<f", value))


def _text(key: str, value: str) -> bytes:
    return _pair(key, _TEXT, _string(value))


def _texts(key: str, values: list[str]) -> bytes:
    return _pair(key, _LIST, struct.pack("<IQ", _TEXT, len(values)) + b"".join(map(_string, values)))
