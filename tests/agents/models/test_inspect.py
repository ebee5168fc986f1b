"""Model folders that cannot be what they announce are told before an engine is given them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from joulemark.agents.models import prepare_model
from joulemark.agents.models.inspect import check_folder
from joulemark.warehouse.errors import EngineError
from joulemark.workloads.cell import ModelRef

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = prepare_model(ModelRef("d", "generated", "tiny-dense"), "bf16", "hf", tmp_path_factory.mktemp("home"))
    assert isinstance(made, Path)
    return made


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def cut(folder: Path) -> None:
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:2_000_000])


def lengthen(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"more")


def configure(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def index(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text)


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "cut": (cut, r"model\.safetensors is cut off \(2000000 bytes of \d+\)"),
    "lengthened": (lengthen, "holds more than it says"),
    "a page of the hub": (
        lambda f: (f / WEIGHTS).write_bytes(b"<html>not there</html>" * 9),
        "is no safetensors file",
    ),
    "empty": (lambda f: (f / WEIGHTS).write_bytes(b""), "is no safetensors file"),
    "no header": (lambda f: (f / WEIGHTS).write_bytes(b"\x04\0\0\0\0\0\0\0{{{{"), "no header that can be read"),
    "another width": (
        lambda f: configure(f, intermediate_size=1024),
        r"layers\.0\.mlp\.down_proj\.weight is 384 x 1152, and config\.json says 384 x 1024",
    ),
    "another vocabulary": (lambda f: configure(f, vocab_size=4096), "config.json says 4096 x 384"),
    "a part is missing": (
        lambda f: index(f, json.dumps({"weight_map": {"a": WEIGHTS, "b": "model-00002-of-00002.safetensors"}})),
        "model-00002-of-00002.safetensors is missing",
    ),
    "an index that is none": (lambda f: index(f, "[]"), "index.json cannot be read"),
}


def test_a_whole_folder_is_as_it_says(folder: Path) -> None:
    check_folder(folder)
    assert prepare_model(ModelRef("m", "path", str(folder)), "bf16", "hf", folder.parent) == folder


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_told(folder: Path, damage: str) -> None:
    change, words = DAMAGES[damage]
    change(folder)
    with pytest.raises(EngineError, match=words) as caught:
        prepare_model(ModelRef("m", "path", str(folder)), "bf16", "hf", folder.parent)
    assert caught.value.failure_class == "bad_checkpoint"
    assert str(folder) in str(caught.value)


def test_what_is_not_known_is_left_to_the_engine(folder: Path) -> None:
    configure(folder, vocab_size=None, quantization_config={"quant_method": "new"}, intermediate_size=7)
    check_folder(folder)
    (folder / WEIGHTS).unlink()
    check_folder(folder)
