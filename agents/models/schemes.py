"""Precisions of Hugging Face checkpoints: how a linear layer's weights are stored, and what config.json says of it.

The quantized ones follow the layouts of compressed-tensors, GPTQ and AWQ, which vLLM and SGLang load without being
told. Routers of a mixture of experts stay as they are in all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from joulemark.agents.models.four_bit import AWQ, GPTQ, to_awq, to_gptq
from joulemark.agents.models.numbers import FP8_MAX, from_bf16, group_scales, packed_int4, to_bf16, to_fp8, to_int
from joulemark.agents.models.safetensors import Stored
from joulemark.agents.models.weights import Floats

Linear = Callable[[str, Floats], list[Stored]]
Plain = Callable[[str, Floats], Stored]

_GROUP = 128


@dataclass(frozen=True)
class Scheme:
    """``linear`` stores a linear layer's weight (given with its full name), ``plain`` every other tensor.

    ``dtype`` is the precision of what is not quantized, ``config`` what is added to config.json.
    """

    dtype: str
    plain: Plain
    linear: Linear
    config: dict[str, Any] = field(default_factory=dict)


def _bf16(name: str, values: Floats) -> Stored:
    return Stored(name, "BF16", to_bf16(values))


def _fp16(name: str, values: Floats) -> Stored:
    return Stored(name, "F16", values.astype(np.float16))


def _int8(name: str, values: Floats) -> list[Stored]:
    scales = group_scales(values, bits=8, group=values.shape[1])
    return [Stored(name, "I8", to_int(values, scales, bits=8)), Stored(f"{name}_scale", "F32", scales)]


def _fp8(name: str, values: Floats) -> list[Stored]:
    rows, columns = values.shape
    padded = np.zeros((-(-rows // _GROUP) * _GROUP, -(-columns // _GROUP) * _GROUP), np.float32)
    padded[:rows, :columns] = values
    blocks = padded.reshape(len(padded) // _GROUP, _GROUP, -1, _GROUP)
    scales = np.abs(blocks).max(axis=(1, 3)) / FP8_MAX
    scaled = (blocks / scales[:, None, :, None]).reshape(padded.shape)[:rows, :columns]
    return [Stored(name, "F8_E4M3", to_fp8(scaled)), Stored(f"{name}_scale", "F32", scales)]


def _int4(name: str, values: Floats) -> list[Stored]:
    # Engines read these scales in the precision of the activations, so that is what the integers must fit.
    scales = to_bf16(group_scales(values, bits=4, group=_GROUP))
    return [
        Stored(f"{name}_packed", "I32", packed_int4(to_int(values, from_bf16(scales), bits=4))),
        Stored(f"{name}_scale", "BF16", scales),
        Stored(f"{name}_shape", "I64", np.array(values.shape, np.int64)),
    ]


def _unquantized(dtype: str, plain: Plain) -> Scheme:
    return Scheme(dtype, plain, lambda name, values: [plain(name, values)])


def _numbers(bits: int, strategy: str, group: int | None = None, kind: str = "int") -> dict[str, Any]:
    """Return compressed-tensors' words for symmetric numbers that are known before the model runs."""
    return {
        "num_bits": bits,
        "type": kind,
        "symmetric": True,
        "strategy": strategy,
        "group_size": group,
        "dynamic": False,
        "observer": "minmax",
    }


def _compressed(layout: str, weights: dict[str, Any], activations: dict[str, Any] | None) -> dict[str, Any]:
    group = {"targets": ["Linear"], "weights": weights, "input_activations": activations, "output_activations": None}
    return {
        "quantization_config": {
            "quant_method": "compressed-tensors",
            "format": layout,
            "quantization_status": "compressed",
            "config_groups": {"group_0": group},
            "ignore": ["lm_head", "re:.*mlp.gate$"],
            "kv_cache_scheme": None,
        }
    }


_DYNAMIC = {"dynamic": True, "observer": None}
"""Activations are rounded while the model runs."""

SCHEMES = {
    "bf16": _unquantized("bfloat16", _bf16),
    "fp16": _unquantized("float16", _fp16),
    # In blocks of 128 x 128: vLLM's CPU build has no kernel of any use for scales per channel.
    "fp8": Scheme(
        "bfloat16",
        _bf16,
        _fp8,
        _compressed(
            "float-quantized",
            {**_numbers(8, "block", kind="float"), "block_structure": [_GROUP, _GROUP]},
            {**_numbers(8, "group", _GROUP, kind="float"), **_DYNAMIC},
        ),
    ),
    "int8-w8a8": Scheme(
        "bfloat16",
        _bf16,
        _int8,
        _compressed("int-quantized", _numbers(8, "channel"), {**_numbers(8, "token"), **_DYNAMIC}),
    ),
    "w4a16": Scheme("bfloat16", _bf16, _int4, _compressed("pack-quantized", _numbers(4, "group", _GROUP), None)),
    # Such checkpoints are made for half precision: their scales are float16.
    "gptq": Scheme("float16", _fp16, to_gptq, {"quantization_config": GPTQ}),
    "awq": Scheme("float16", _fp16, to_awq, {"quantization_config": AWQ}),
}
