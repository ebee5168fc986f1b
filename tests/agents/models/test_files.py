"""The files of generated models, read back by parsers written from the formats' definitions."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pytest

from joulemark.agents.models import prepare_model
from joulemark.agents.models.numbers import from_bf16
from joulemark.agents.models.tokenizer import project_tokenizer
from joulemark.agents.models.weights import specs, tensors
from joulemark.workloads.cell import ModelRef
from joulemark.workloads.models.generated import generated_config

PRESETS = ("tiny-dense", "tiny-moe")
GGML_BYTES = {0: (4, 1), 1: (2, 1), 2: (18, 32), 8: (34, 32)}
NUMPY_KINDS = {"F16": "<f2", "BF16": "<u2", "F32": "<f4", "I8": "i1", "I32": "<i4", "I64": "<i8", "F8_E4M3": "u1"}
QUANTIZED = ("fp8", "int8-w8a8", "w4a16", "gptq", "awq")
AWQ_COLUMNS = (0, 2, 4, 6, 1, 3, 5, 7)
"""Which of eight outputs the half bytes of an AWQ word hold, the lowest first."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def made(home: Path, preset: str, quantization: str, weights_format: str) -> Path:
    path = prepare_model(ModelRef(preset, "generated", preset), quantization, weights_format, home)
    assert isinstance(path, Path)
    return path


@dataclass
class Gguf:
    """``tensors`` holds (shape as in numpy, ggml type, raw bytes) by name."""

    pairs: dict[str, Any]
    tensors: dict[str, tuple[tuple[int, ...], int, bytes]]


def read_gguf(path: Path) -> Gguf:
    with path.open("rb") as file:
        magic, version, tensor_count, pair_count = struct.unpack("<4sIQQ", file.read(24))
        assert (magic, version) == (b"GGUF", 3)
        pairs = {}
        for _ in range(pair_count):
            key = text(file)
            pairs[key] = value(file, *number(file, "<I"))
        entries = [entry(file) for _ in range(tensor_count)]
        start = -(-file.tell() // 32) * 32
        size = path.stat().st_size
        found = {}
        for name, shape, kind, offset in entries:
            assert offset % 32 == 0
            unit, per = GGML_BYTES[kind]
            length = int(np.prod(shape)) // per * unit
            assert start + offset + length <= size
            file.seek(start + offset)
            found[name] = (shape, kind, file.read(length))
    return Gguf(pairs, found)


def number(file: BinaryIO, layout: str) -> tuple[Any, ...]:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))


def text(file: BinaryIO) -> str:
    return file.read(*number(file, "<Q")).decode()


def value(file: BinaryIO, kind: int) -> Any:
    if kind == 9:
        item, count = number(file, "<IQ")
        return [value(file, item) for _ in range(count)]
    return text(file) if kind == 8 else number(file, {4: "<I", 5: "<i", 6: "<f", 7: "<?"}[kind])[0]


def entry(file: BinaryIO) -> tuple[str, tuple[int, ...], int, int]:
    name = text(file)
    shape = number(file, f"<{number(file, '<I')[0]}Q")
    return name, tuple(reversed(shape)), *number(file, "<IQ")


def read_safetensors(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    body = data[8 + length :]
    assert header.pop("__metadata__") == {"format": "pt"}
    found, end = {}, 0
    for name, item in header.items():
        begin, stop = item["data_offsets"]
        assert begin == end
        found[name] = np.frombuffer(body[begin:stop], NUMPY_KINDS[item["dtype"]]).reshape(item["shape"])
        end = stop
    assert end == len(body)
    return found


@pytest.mark.parametrize("preset", PRESETS)
def test_gguf_and_hugging_face_hold_the_same_weights(home: Path, preset: str) -> None:
    gguf = read_gguf(made(home, preset, "f16", "gguf"))
    theirs = read_safetensors(made(home, preset, "fp16", "hf") / "model.safetensors")
    listed = list(specs(generated_config(preset)))
    assert set(gguf.tensors) == {spec.gguf for spec in listed}
    assert set(theirs) == {name for spec in listed for name in spec.hf}
    for spec in listed:
        shape, kind, raw = gguf.tensors[spec.gguf]
        ours = np.frombuffer(raw, "<f2" if kind == 1 else "<f4").reshape(shape).astype(np.float16)
        whole = np.stack([theirs[name] for name in spec.hf]) if len(spec.hf) > 1 else theirs[spec.hf[0]]
        np.testing.assert_array_equal(ours, whole)


@pytest.mark.parametrize("preset", PRESETS)
def test_gguf_says_what_the_configuration_says(home: Path, preset: str) -> None:
    config = generated_config(preset)
    pairs = read_gguf(made(home, preset, "q4_0", "gguf")).pairs
    kind = {"tiny-dense": "qwen3", "tiny-moe": "qwen3moe"}[preset]
    assert pairs["general.architecture"] == kind
    assert pairs["general.file_type"] == 2
    assert pairs[f"{kind}.block_count"] == config["num_hidden_layers"]
    assert pairs[f"{kind}.attention.head_count_kv"] == config["num_key_value_heads"]
    assert pairs[f"{kind}.rope.freq_base"] == config["rope_theta"]
    assert pairs.get(f"{kind}.expert_used_count") == config.get("num_experts_per_tok")
    assert pairs["tokenizer.ggml.tokens"] == list(project_tokenizer(config["vocab_size"]).vocabulary)
    assert pairs["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 1]


def test_gguf_precisions_hold_what_they_are_named_after(home: Path) -> None:
    kinds = {}
    for quantization in ("f16", "q8_0", "q4_0"):
        found = read_gguf(made(home, "tiny-moe", quantization, "gguf")).tensors
        names = ("blk.0.ffn_up_exps.weight", "token_embd.weight", "blk.0.ffn_gate_inp.weight", "output_norm.weight")
        kinds[quantization] = [found[name][1] for name in names]
    assert kinds == {"f16": [1, 1, 0, 0], "q8_0": [8, 8, 0, 0], "q4_0": [2, 8, 0, 0]}


def half_bytes(words: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Eight values per word, the lowest first, along a new last axis."""
    return np.stack([(words.view(np.uint32) >> shift & 15).astype(int) for shift in range(0, 32, 4)], axis=-1)


def fp8_value(code: int) -> float:
    """e4m3fn: a sign, four bits of exponent with bias 7, three of mantissa; without infinities."""
    sign, exponent, mantissa = -1 if code & 0x80 else 1, code >> 3 & 15, code & 7
    return sign * (mantissa / 8 * 2**-6 if exponent == 0 else (1 + mantissa / 8) * 2.0 ** (exponent - 7))


def test_fp8_gptq_and_awq_hold_the_same_weights(home: Path) -> None:
    exact = {t.spec.hf[0]: t.values for t in tensors(generated_config("tiny-dense"))}
    base = "model.layers.3.mlp.down_proj"
    weight = exact[f"{base}.weight"]
    fp8 = read_safetensors(made(home, "tiny-dense", "fp8", "hf") / "model.safetensors")
    values = np.array([fp8_value(code) for code in range(256)])[fp8[f"{base}.weight"]]
    assert fp8[f"{base}.weight_scale"].shape == (3, 9)
    scales = fp8[f"{base}.weight_scale"].repeat(128, axis=0).repeat(128, axis=1)
    # Three bits of mantissa, or a fixed step of 2^-9 where the number is subnormal.
    allowed = np.maximum(np.abs(weight) / 16, scales * 2**-10)
    assert np.all(np.abs(values * scales - weight) <= allowed * 1.001)
    gptq = read_safetensors(made(home, "tiny-dense", "gptq", "hf") / "model.safetensors")
    inputs = np.arange(1152)
    assert gptq[f"{base}.g_idx"].tolist() == (inputs // 128).tolist()
    integers = half_bytes(gptq[f"{base}.qweight"]).transpose(0, 2, 1).reshape(1152, 384)
    zeros = half_bytes(gptq[f"{base}.qzeros"]).reshape(9, 384) + 1
    scales = gptq[f"{base}.scales"].astype(float)
    back = ((integers - zeros[inputs // 128]) * scales[inputs // 128]).T
    assert np.abs(back - weight).max() < scales.max() * 0.505
    awq = read_safetensors(made(home, "tiny-dense", "awq", "hf") / "model.safetensors")
    place = np.argsort(AWQ_COLUMNS)
    integers = half_bytes(awq[f"{base}.qweight"])[:, :, place].reshape(1152, 384)
    zeros = half_bytes(awq[f"{base}.qzeros"])[:, :, place].reshape(9, 384)
    scales = awq[f"{base}.scales"].astype(float)
    back = ((integers - zeros[inputs // 128]) * scales[inputs // 128]).T
    assert np.abs(back - weight).max() < scales.max() * 1.01
    assert np.abs(back - weight).mean() < scales.max() * 0.3


@pytest.mark.parametrize("quantization", QUANTIZED)
def test_a_quantized_mixture_of_experts_keeps_its_router(home: Path, quantization: str) -> None:
    found = read_safetensors(made(home, "tiny-moe", quantization, "hf") / "model.safetensors")
    router = "model.layers.0.mlp.gate.weight"
    assert found[router].dtype.itemsize == 2
    assert not [name for name in found if name.startswith("model.layers.0.mlp.gate.") and name != router]
    experts = {name.split(".")[5] for name in found if ".mlp.experts." in name}
    assert len(experts) == 8


def test_the_quantized_checkpoints_hold_the_same_weights(home: Path) -> None:
    exact = {t.spec.hf[0]: t.values for t in tensors(generated_config("tiny-dense"))}
    name = "model.layers.3.mlp.down_proj.weight"
    int8 = read_safetensors(made(home, "tiny-dense", "int8-w8a8", "hf") / "model.safetensors")
    scale = int8[f"{name}_scale"]
    assert scale.shape == (384, 1)
    assert np.abs(int8[name] * scale - exact[name]).max() < scale.max() * 0.501
    int4 = read_safetensors(made(home, "tiny-dense", "w4a16", "hf") / "model.safetensors")
    assert int4[f"{name}_shape"].tolist() == [384, 1152]
    words = int4[f"{name}_packed"].view(np.uint32)
    integers = np.stack([(words >> shift & 15).astype(int) - 8 for shift in range(0, 32, 4)], axis=2).reshape(384, 1152)
    scales = np.repeat(from_bf16(int4[f"{name}_scale"]), 128, axis=1)
    assert np.abs(integers * scales - exact[name]).max() < scales.max() * 0.501


def test_the_folder_says_how_it_is_stored(home: Path) -> None:
    folder = made(home, "tiny-dense", "w4a16", "hf")
    config = json.loads((folder / "config.json").read_text())
    assert config["quantization_config"]["format"] == "pack-quantized"
    assert config["quantization_config"]["config_groups"]["group_0"]["weights"]["group_size"] == 128
    assert json.loads((made(home, "tiny-moe", "fp16", "hf") / "config.json").read_text())["dtype"] == "float16"
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    assert len(tokenizer["model"]["vocab"]) == config["vocab_size"]
    assert [item["id"] for item in tokenizer["added_tokens"]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("quantization", "weights_format"), [("q8_0", "gguf"), ("q4_0", "gguf"), ("bf16", "hf"), ("int8-w8a8", "hf")]
)
def test_made_twice_is_the_same_to_the_byte(home: Path, tmp_path: Path, quantization: str, weights_format: str) -> None:
    one, two = (made(place, "tiny-dense", quantization, weights_format) for place in (home, tmp_path))
    assert one.relative_to(home) == two.relative_to(tmp_path)
    files = [one] if one.is_file() else sorted(one.iterdir())
    assert files
    for file in files:
        assert file.read_bytes() == (two if one.is_file() else two / file.name).read_bytes()


def test_weights_have_the_size_of_a_usual_initialisation() -> None:
    for tensor in tensors(generated_config("tiny-dense")):
        if tensor.spec.role == "norm":
            assert np.all(tensor.values == 1)
        else:
            assert tensor.values.std() * np.sqrt(tensor.spec.shape[-1]) == pytest.approx(1, rel=0.02)
            assert abs(tensor.values.mean()) < 0.001


def test_unlikely_tokens_have_small_embeddings() -> None:
    embedding = next(tensors(generated_config("tiny-dense"), (5, 7))).values
    sizes = embedding.std(axis=1)
    assert sizes[[5, 7]].max() < 0.2 * np.delete(sizes, [5, 7]).min()
