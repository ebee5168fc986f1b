"""Model folders without weights: a configuration and a tokenizer, for engines that draw the weights themselves."""

from __future__ import annotations

from pathlib import Path

from joulemark.agents.locks import exclusive
from joulemark.agents.models.checkpoint import write_configuration
from joulemark.agents.models.tokenizer import CORPUS, project_tokenizer
from joulemark.warehouse.schema.identity import content_id
from joulemark.workloads.models.dummy import dummy_config

DUMMY_VERSION = 1
"""Counts up with every change of what the same configuration gives."""


def dummy_model(name: str, quantization: str, home: Path) -> Path:
    """Return the folder of the catalogue's model ``name`` in ``quantization``, making it below ``home`` where missing.

    Its tokenizer has as many tokens as the model, most of them reserved ones. Raises BadInput where the model or the
    precision cannot be had so.
    """
    config = dummy_config(name, quantization)
    key = content_id({"config": config, "text": CORPUS.read_text(encoding="ascii"), "version": DUMMY_VERSION})
    target = home / "models" / f"dummy-{name}-{quantization}-{key}"
    done = target / "generation_config.json"
    with exclusive(target.with_name(f".{target.name}.lock"), lambda: None):
        if not done.exists():
            target.mkdir(exist_ok=True)
            # What marks it as complete is written last.
            write_configuration(target, config, project_tokenizer(config["vocab_size"]))
    return target
