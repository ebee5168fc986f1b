"""Writing a Hugging Face model folder: configuration, tokenizer, weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from joulemark.agents.models.safetensors import Stored, write_safetensors
from joulemark.agents.models.schemes import SCHEMES, Scheme
from joulemark.agents.models.tokenizer import CHAT_TEMPLATE, END_OF_MESSAGE, END_OF_TEXT, SPECIALS, Tokenizer
from joulemark.agents.models.weights import Config, Tensor, tensors

_BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}


def write_checkpoint(folder: Path, config: Config, tokenizer: Tokenizer, quantization: str) -> None:
    """Write the generated weights of ``config`` into ``folder`` (made here), stored as one of ``SCHEMES``."""
    scheme = SCHEMES[quantization]
    folder.mkdir()
    write_configuration(
        folder, {**config, "dtype": scheme.dtype, "torch_dtype": scheme.dtype, **scheme.config}, tokenizer
    )
    stored = [item for tensor in tensors(config, tokenizer.textless) for item in _stored(tensor, scheme)]
    write_safetensors(folder / "model.safetensors", stored)


def write_configuration(folder: Path, config: Config, tokenizer: Tokenizer) -> None:
    """Write into ``folder`` all of a model but its weights; ``generation_config.json`` last."""
    _write_json(folder / "config.json", config)
    _write_json(folder / "tokenizer.json", _tokenizer_json(tokenizer))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config(config))
    _write_json(folder / "generation_config.json", {key: config[key] for key in _TOKEN_IDS})


_TOKEN_IDS = ("bos_token_id", "eos_token_id", "pad_token_id")


def _stored(tensor: Tensor, scheme: Scheme) -> Iterator[Stored]:
    names = tensor.spec.hf
    parts = tensor.values if len(names) > 1 else [tensor.values]
    for name, values in zip(names, parts, strict=True):
        if tensor.spec.role == "linear":
            yield from scheme.linear(name, values)
        else:
            yield scheme.plain(name, values)


def _tokenizer_json(tokenizer: Tokenizer) -> dict[str, Any]:
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [_special(number, text) for number, text in enumerate(SPECIALS)],
        "normalizer": None,
        "pre_tokenizer": _BYTE_LEVEL,
        "post_processor": None,
        "decoder": _BYTE_LEVEL,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokenizer.vocabulary)},
            "merges": [list(pair) for pair in tokenizer.merges],
        },
    }


def _special(number: int, text: str) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    return {"id": number, "content": text, **flags, "special": True}


def _tokenizer_config(config: Config) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": SPECIALS[END_OF_MESSAGE],
        "pad_token": SPECIALS[END_OF_TEXT],
        "unk_token": None,
        "model_max_length": config["max_position_embeddings"],
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
    }


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
