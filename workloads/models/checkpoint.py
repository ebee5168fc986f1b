"""The precision of published or local weights, as a model's ``config.json`` tells it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_DTYPES = {"bfloat16": "bf16", "float16": "fp16", "float32": "f32"}
_METHODS = {"awq": "awq", "gptq": "gptq", "fbgemm_fp8": "fp8-channel", "mxfp4": "mxfp4"}
_MODELOPT = {"NVFP4": "nvfp4", "FP8": "fp8-tensor", "MXFP8": "mxfp8"}
_FP8 = {"tensor": "fp8-tensor", "channel": "fp8-channel", "block": "fp8-block"}


def precision_of_config(config: Mapping[str, Any]) -> str | None:
    """Return the quantization name of the weights that ``config`` describes, None where it has none of ours."""
    scheme = config.get("quantization_config")
    if not isinstance(scheme, Mapping):
        nested = config.get("text_config")
        inner = nested if isinstance(nested, Mapping) else {}
        dtype = next((c[k] for c in (config, inner) for k in ("dtype", "torch_dtype") if c.get(k)), None)
        return _DTYPES.get(str(dtype).removeprefix("torch."))
    method = str(scheme.get("quant_method", "")).lower()
    if method == "compressed-tensors":
        return _compressed(scheme)
    if method == "modelopt":
        return _MODELOPT.get(str(scheme.get("quant_algo", "")).upper())
    if method == "fp8":
        return "fp8-block" if scheme.get("weight_block_size") else "fp8-tensor"
    bits = scheme.get("bits", 4)
    if method == "gptq" and bits == 8:
        return "int8-w8a16"
    return None if method in ("awq", "gptq") and bits != 4 else _METHODS.get(method)


def _compressed(scheme: Mapping[str, Any]) -> str | None:
    groups: list[Mapping[str, Any]] = list((scheme.get("config_groups") or {}).values())
    if not groups:
        return None
    weights, activations = groups[0].get("weights") or {}, groups[0].get("input_activations")
    kind = (str(weights.get("type")), weights.get("num_bits"), bool(activations))
    if kind == ("float", 8, True):
        return _FP8.get(str(weights.get("strategy")), "fp8")
    known: dict[tuple[str, int | None, bool], str] = {
        ("int", 8, True): "int8-w8a8",
        ("int", 8, False): "int8-w8a16",
        ("int", 4, False): "w4a16",
        ("float", 4, True): "nvfp4",
    }
    return known.get(kind)
