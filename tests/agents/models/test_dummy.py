"""Folders of models without weights: complete, of the right size, made once."""

from __future__ import annotations

import json

import pytest

from joulemark.agents.models.dummy import dummy_model
from joulemark.agents.models.prepare import prepare_model
from joulemark.warehouse.errors import BadInput
from joulemark.workloads.cell import ModelRef

REFERENCE = ModelRef("llama-3.2-1b", "hub", "meta-llama/Llama-3.2-1B-Instruct", None, "dummy")


def test_configuration_and_tokenizer_and_nothing_else(tmp_path):
    folder = prepare_model(REFERENCE, "fp8-block", "hf", tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "generation_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    config = json.loads((folder / "config.json").read_text())
    assert config["num_hidden_layers"] == 16
    assert config["quantization_config"]["weight_block_size"] == [128, 128]
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    assert len(vocabulary) == config["vocab_size"] == 128256


def test_it_is_made_once_and_again_where_a_crash_left_a_part(tmp_path):
    folder = dummy_model("llama-3.2-1b", "bf16", tmp_path)
    before = (folder / "config.json").stat().st_mtime_ns
    assert dummy_model("llama-3.2-1b", "bf16", tmp_path) == folder
    assert (folder / "config.json").stat().st_mtime_ns == before
    (folder / "generation_config.json").unlink()
    (folder / "config.json").write_text("{")
    assert dummy_model("llama-3.2-1b", "bf16", tmp_path) == folder
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"


def test_another_hub_id_and_a_revision_are_fetched(tmp_path):
    other = ModelRef("org/m", "hub", "org/m", None, "dummy")
    assert prepare_model(other, "bf16", "hf", tmp_path) == "org/m"
    pinned = ModelRef("llama-3.2-1b", "hub", "meta-llama/Llama-3.2-1B-Instruct", "abc", "dummy")
    assert prepare_model(pinned, "bf16", "hf", tmp_path) == "meta-llama/Llama-3.2-1B-Instruct"


def test_a_precision_that_no_configuration_asks_for_is_refused(tmp_path):
    with pytest.raises(BadInput, match="not in awq"):
        dummy_model("llama-3.2-1b", "awq", tmp_path)
