"""From a model's name in a cell to what an engine loads: a GGUF file, a model folder or a hub id.

Generated models are made once per node, whole or not at all.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from joulemark.agents.locks import exclusive
from joulemark.agents.models.checkpoint import write_checkpoint
from joulemark.agents.models.dummy import dummy_model
from joulemark.agents.models.gguf import FORMATS, write_gguf
from joulemark.agents.models.inspect import check_folder
from joulemark.agents.models.schemes import SCHEMES
from joulemark.agents.models.tokenizer import CORPUS, project_tokenizer
from joulemark.agents.models.weights import SEED, Config
from joulemark.warehouse.errors import BadInput, DiskFull, UnknownModel
from joulemark.warehouse.schema.identity import content_id
from joulemark.workloads.cell import ModelRef
from joulemark.workloads.models.catalogue import needs_no_hub
from joulemark.workloads.models.generated import generated_config

# Counts up with every change of what the same configuration gives.
GENERATOR_VERSION = 5


def prepare_model(model: ModelRef, quantization: str, weights_format: str, home: Path) -> Path | str:
    """Return what an engine that reads ``weights_format`` (``gguf`` or ``hf``) loads for ``model``.

    A generated model is made below ``home`` where it is missing, with weights rounded as ``quantization`` says; a
    path is checked for what the format needs; a hub id is returned as it is, the engine fetches it. Of dummy weights of
    a catalogue model only configuration and tokenizer are made.

    Raises UnknownModel where there is no such preset, folder or file, BadInput where it cannot be had in this
    precision or format, EngineError where its files cannot be what they announce, DiskFull.
    """
    if weights_format not in ("gguf", "hf"):
        raise BadInput(f"there is no weights format {weights_format!r}; there are gguf and hf")
    if model.source == "generated":
        return _generated(model.location, quantization, weights_format, home)
    if model.source == "path":
        return _local(model.location, weights_format)
    if model.source == "hub":
        return dummy_model(model.name, quantization, home) if needs_no_hub(model) else model.location
    raise BadInput(f"model {model.name}: unknown source {model.source!r}; there are generated, hub and path")


def _generated(preset: str, quantization: str, weights_format: str, home: Path) -> Path:
    config = generated_config(preset)
    _check_precision(preset, quantization, weights_format)
    folder = home / "models" / f"{preset}-{_generator_id(config)}"
    suffix = ".gguf" if weights_format == "gguf" else ""
    target = folder / f"{weights_format}-{quantization}{suffix}"
    if target.exists():
        return target
    with exclusive(folder / ".lock", _wait_in_silence):
        if not target.exists():
            _make(target, preset, config, quantization)
    return target


def _make(target: Path, preset: str, config: Config, quantization: str) -> None:
    # Only the holder of the lock writes here, so a folder of this name was left by a crash.
    unfinished = target.with_name(f".unfinished-{target.name}")
    _remove(unfinished)
    tokenizer = project_tokenizer(config["vocab_size"])
    try:
        if target.suffix == ".gguf":
            write_gguf(unfinished, config, preset, tokenizer, quantization)
        else:
            write_checkpoint(unfinished, config, tokenizer, quantization)
        unfinished.rename(target)
    except OSError as error:
        _remove(unfinished)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no space left to make the model {target}; free some, or set JOULEMARK_HOME") from error
        raise


def _check_precision(preset: str, quantization: str, weights_format: str) -> None:
    known = sorted(FORMATS if weights_format == "gguf" else SCHEMES)
    if quantization not in known:
        raise BadInput(
            f"generated model {preset} cannot be had as {quantization} in {weights_format} format; "
            f"there are: {', '.join(known)}"
        )


def _local(location: str, weights_format: str) -> Path:
    place = Path(location).expanduser().absolute()
    if not place.exists():
        raise UnknownModel(f"model {location}: no such file or folder")
    if weights_format == "gguf":
        return _local_gguf(place)
    if not (place / "config.json").is_file():
        raise BadInput(f"model {location}: no config.json in it; this engine loads Hugging Face model folders")
    check_folder(place)
    return place


def _local_gguf(place: Path) -> Path:
    found = sorted(place.glob("*.gguf")) if place.is_dir() else [place]
    if len(found) != 1:
        what = "no .gguf file" if not found else f"{len(found)} .gguf files"
        raise BadInput(f"model {place}: {what} in it; give the path of one")
    with found[0].open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        raise BadInput(f"model {found[0]}: is no GGUF file; this engine loads GGUF files")
    return found[0]


def _generator_id(config: Config) -> str:
    text = CORPUS.read_text(encoding="ascii")
    return content_id({"config": config, "generator": GENERATOR_VERSION, "seed": SEED, "text": text})


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place)
    elif place.exists():
        os.unlink(place)


def _wait_in_silence() -> None:
    """Making a model takes a second or two."""
