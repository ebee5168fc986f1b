"""Engine options that several engines have under different names: one word for them in the sweep file.

``COMMON`` is the table. An engine's own arguments stay beside it; the same thing said in both ways is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import Scalar
from joulemark.workloads.nearest import suggestion


@dataclass(frozen=True)
class CommonOption:
    """One option. ``kind`` is ``flag``, ``number`` (whole), ``fraction``, ``word`` or ``mapping``.

    ``engines`` maps an engine to its own arguments that speak of the same thing.
    """

    kind: str
    meaning: str
    engines: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


COMMON: dict[str, CommonOption] = {
    "prefix_caching": CommonOption(
        "flag",
        "whether prompts that begin alike share their part of the KV cache",
        {"vllm": ("enable-prefix-caching",), "sglang": ("disable-radix-cache",)},
    ),
    "chunked_prefill": CommonOption(
        "flag",
        "whether long prompts are worked on in parts, between answers",
        {"vllm": ("enable-chunked-prefill",), "sglang": ("chunked-prefill-size",)},
    ),
    "max_batched_tokens": CommonOption(
        "number",
        "most tokens of prompts in one step",
        {
            "vllm": ("max-num-batched-tokens",),
            "sglang": ("chunked-prefill-size", "max-prefill-tokens"),
            "llamacpp": ("n_batch",),
            "simulated": (),
        },
    ),
    "max_running_requests": CommonOption(
        "number",
        "most requests that are worked on at the same time",
        {"vllm": ("max-num-seqs",), "sglang": ("max-running-requests",), "simulated": ()},
    ),
    "memory_fraction": CommonOption(
        "fraction",
        "share of the accelerator's memory: in vLLM of all that it uses, in SGLang of weights and KV cache",
        {"vllm": ("gpu-memory-utilization",), "sglang": ("mem-fraction-static",), "simulated": ()},
    ),
    "cuda_graphs": CommonOption(
        "flag",
        "whether steps are replayed as CUDA graphs; true leaves it to the engine",
        {
            "vllm": ("enforce-eager", "compilation-config", "cudagraph-capture-sizes"),
            "sglang": (
                "disable-cuda-graph",
                "cuda-graph-backend-decode",
                "cuda-graph-backend-prefill",
                "cuda-graph-config",
            ),
        },
    ),
    "moe_backend": CommonOption(
        "word",
        "kernels for experts: auto, triton, cutlass, marlin, deep_gemm, flashinfer_trtllm, flashinfer_cutlass, or "
        "another of the engine's own",
        {"vllm": ("moe-backend",), "sglang": ("moe-runner-backend",)},
    ),
    "moe_all2all": CommonOption(
        "word",
        "how tokens are sent to experts on other devices, in the engine's own words",
        {"vllm": ("all2all-backend",), "sglang": ("moe-a2a-backend",)},
    ),
    "speculative": CommonOption(
        "mapping",
        "speculative decoding: {method: ngram, draft, eagle, eagle3 or mtp, tokens, model}",
        {
            "vllm": ("speculative-config", "spec-method", "spec-model", "spec-tokens"),
            "sglang": (
                "speculative-algorithm",
                "speculative-draft-model-path",
                "speculative-num-steps",
                "speculative-eagle-topk",
                "speculative-num-draft-tokens",
            ),
        },
    ),
}
SPECULATIVE_FIELDS = ("method", "tokens", "model")
SPECULATIVE_METHODS = ("ngram", "draft", "eagle", "eagle3", "mtp")
NEED_A_MODEL = frozenset({"draft", "eagle", "eagle3"})
"""Methods whose draft is a model of its own."""


def common_name(key: str) -> str | None:
    """Return the common option that an argument is (``speculative.tokens`` for a part of one), or None."""
    word = key.lstrip("-").replace("-", "_")
    first, _, rest = word.partition(".")
    if first not in COMMON or (rest and COMMON[first].kind != "mapping"):
        return None
    return word


def commons(args: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the common options among the arguments."""
    return {key: value for key, value in args.items() if common_name(key) == key and value is not None}


def common_refusal(args: Mapping[str, Scalar], engine: str) -> str | None:
    """Return which common option ``engine`` does not have, or None."""
    lacking = [name for name in _options(args) if engine not in COMMON[name].engines]
    return f"{engine} has no engine.{lacking[0]}" if lacking else None


def check_commons(args: Mapping[str, Scalar], engine: str) -> None:
    """Raise BadInput where a common option has a wrong value, or the engine's own argument says the same thing."""
    for key, value in commons(args).items():
        name = key.partition(".")[0]
        _check_value(name, key, value)
        for rival in COMMON[name].engines.get(engine, ()):
            if args.get(rival) is not None:
                raise BadInput(
                    f"engine.{name} and the {engine} argument {rival!r} say the same thing: give one of them"
                )
    if "speculative" in _options(args):
        _check_speculative(args)


def speculative(args: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Return the fields of ``speculative``, empty where there is none."""
    return {key.partition(".")[2]: value for key, value in commons(args).items() if key.startswith("speculative.")}


def _options(args: Mapping[str, Scalar]) -> list[str]:
    return list(dict.fromkeys(key.partition(".")[0] for key in commons(args)))


def _check_value(name: str, key: str, value: Scalar) -> None:
    kind = COMMON[name].kind
    if kind == "flag" and not isinstance(value, bool):
        raise BadInput(f"engine.{name} is true or false, found {value!r}")
    if kind == "number" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise BadInput(f"engine.{name} is a whole number of at least 1, found {value!r}")
    if kind == "fraction" and (isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1):
        raise BadInput(f"engine.{name} is a number over 0 and up to 1, found {value!r}")
    if kind == "word" and not isinstance(value, str):
        raise BadInput(f"engine.{name} is a word, found {value!r}")
    if kind == "mapping" and key == name:
        raise BadInput(f"engine.{name} is a mapping such as {{method: ngram, tokens: 3}}, found {value!r}")
    if kind == "mapping" and key.partition(".")[2] not in SPECULATIVE_FIELDS:
        field_name = key.partition(".")[2]
        raise BadInput(f"unknown key {field_name!r} in engine.{name}: {suggestion(field_name, SPECULATIVE_FIELDS)}")


def _check_speculative(args: Mapping[str, Scalar]) -> None:
    fields = speculative(args)
    method, tokens = fields.get("method"), fields.get("tokens")
    if method not in SPECULATIVE_METHODS:
        known = suggestion(str(method), SPECULATIVE_METHODS)
        raise BadInput(f"engine.speculative: {method!r} is no method: {known}")
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
        raise BadInput("engine.speculative needs tokens, the number of tokens that are drafted at a time")
    if (method in NEED_A_MODEL) != ("model" in fields):
        needs = "needs a model" if method in NEED_A_MODEL else "takes no model"
        raise BadInput(f"engine.speculative: the method {method} {needs}")
