"""From a model's name to what an engine loads."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from joulemark.agents.models import prepare, prepare_model
from joulemark.warehouse.errors import BadInput, DiskFull, UnknownModel
from joulemark.workloads.cell import ModelRef

DENSE = ModelRef("tiny-dense", "generated", "tiny-dense")
ANOTHER_PROCESS = """
import sys
from pathlib import Path
from joulemark.agents.models import prepare_model
from joulemark.workloads.cell import ModelRef
path = prepare_model(ModelRef("tiny-moe", "generated", "tiny-moe"), "q4_0", "gguf", Path(sys.argv[1]))
print(path, path.stat().st_ino)
"""


def at(path: Path) -> ModelRef:
    return ModelRef(path.name, "path", str(path))


def test_a_generated_model_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = prepare_model(DENSE, "q8_0", "gguf", tmp_path)
    assert isinstance(path, Path)
    assert path.parent.parent == tmp_path / "models"
    assert path.name == "gguf-q8_0.gguf"
    monkeypatch.setattr(prepare, "write_gguf", None)
    assert prepare_model(DENSE, "q8_0", "gguf", tmp_path) == path


def test_formats_and_precisions_lie_side_by_side(tmp_path: Path) -> None:
    folder = prepare_model(DENSE, "bf16", "hf", tmp_path)
    file = prepare_model(DENSE, "f16", "gguf", tmp_path)
    assert isinstance(folder, Path)
    assert isinstance(file, Path)
    assert (folder / "config.json").is_file()
    assert folder.parent == file.parent


def test_what_a_crash_leaves_is_made_anew(tmp_path: Path) -> None:
    path = prepare_model(DENSE, "bf16", "hf", tmp_path)
    assert isinstance(path, Path)
    unfinished = path.with_name(".unfinished-hf-bf16")
    path.rename(unfinished)
    (unfinished / "model.safetensors").write_bytes(b"half")
    assert prepare_model(DENSE, "bf16", "hf", tmp_path) == path
    assert (path / "model.safetensors").stat().st_size > 20_000_000
    assert not unfinished.exists()


def test_two_processes_get_the_same_file(tmp_path: Path) -> None:
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(tmp_path)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    one, two = (child.communicate()[0] for child in children)
    assert one == two
    assert one.split()[0].endswith("gguf-q4_0.gguf")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(prepare, "write_gguf", fill)
    with pytest.raises(DiskFull, match=r"no space left to make the model .*set JOULEMARK_HOME"):
        prepare_model(DENSE, "f16", "gguf", tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"]


@pytest.mark.parametrize(
    ("preset", "quantization", "weights_format", "known"),
    [
        ("tiny-dense", "bf16", "gguf", "f16, q4_0, q8_0"),
        ("tiny-dense", "q8_0", "hf", "awq, bf16, fp16, fp8, gptq, int8-w8a8, w4a16"),
        ("tiny-moe", "nvfp4", "hf", "awq, bf16, fp16, fp8, gptq, int8-w8a8, w4a16"),
    ],
)
def test_a_precision_that_does_not_exist(
    tmp_path: Path, preset: str, quantization: str, weights_format: str, known: str
) -> None:
    with pytest.raises(BadInput) as caught:
        prepare_model(ModelRef(preset, "generated", preset), quantization, weights_format, tmp_path)
    assert str(caught.value) == (
        f"generated model {preset} cannot be had as {quantization} in {weights_format} format; there are: {known}"
    )


def test_a_preset_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="'tiny-cat'"):
        prepare_model(ModelRef("tiny-cat", "generated", "tiny-cat"), "f16", "gguf", tmp_path)


def test_a_hub_model_is_fetched_by_the_engine(tmp_path: Path) -> None:
    assert prepare_model(ModelRef("m", "hub", "someone/some-model"), "bf16", "hf", tmp_path) == "someone/some-model"


def test_a_local_folder_is_checked(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no config\.json in it"):
        prepare_model(at(tmp_path), "bf16", "hf", tmp_path)
    (tmp_path / "config.json").write_text("{}")
    assert prepare_model(at(tmp_path), "bf16", "hf", tmp_path) == tmp_path
    with pytest.raises(UnknownModel, match="gone: no such file or folder"):
        prepare_model(at(tmp_path / "gone"), "bf16", "hf", tmp_path)


def test_a_local_gguf_is_checked(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"no \.gguf file in it"):
        prepare_model(at(tmp_path), "q8_0", "gguf", tmp_path)
    file = tmp_path / "one.gguf"
    file.write_bytes(b"something else")
    with pytest.raises(BadInput, match="is no GGUF file"):
        prepare_model(at(file), "q8_0", "gguf", tmp_path)
    file.write_bytes(b"GGUF and so on")
    assert prepare_model(at(file), "q8_0", "gguf", tmp_path) == file
    assert prepare_model(at(tmp_path), "q8_0", "gguf", tmp_path) == file
    (tmp_path / "two.gguf").write_bytes(b"GGUF")
    with pytest.raises(BadInput, match=r"2 \.gguf files in it; give the path of one"):
        prepare_model(at(tmp_path), "q8_0", "gguf", tmp_path)


def test_an_unknown_source_or_format(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="unknown source 'moon'"):
        prepare_model(ModelRef("m", "moon", "m"), "bf16", "hf", tmp_path)
    with pytest.raises(BadInput, match="no weights format 'onnx'"):
        prepare_model(DENSE, "bf16", "onnx", tmp_path)
