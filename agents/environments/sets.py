"""Pinned requirement sets, one text file per engine and version in the folder ``sets`` beside this module.

A set is a pip requirements file whose comments of the form ``# key: value`` tell the rest:

- ``size_mb``: disk that the finished environment takes;
- ``python``: versions of Python that it can hold, as in ``>=3.11,<3.15``;
- ``import``: the module whose import proves the environment;
- ``exclude``: distributions that are asked for by others and must not be installed (optional);
- ``torch-backend``: the build of torch that is wanted, ``cpu`` (optional);
- ``override``: requirements that go over those of the distributions themselves (optional; needs uv);
- ``no-deps``: requirements that are installed afterwards, without what they ask for (optional; needs uv);
- ``recipe``: a program beside this module that the environment's own Python runs at the end (optional).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from joulemark.warehouse.errors import BadInput

_FOLDER = Path(__file__).parent / "sets"
_HEADER = re.compile(r"#\s*([a-z_-]+):\s*(.+)")
_BOUND = re.compile(r"\s*(>=|<=|==|!=|<|>)\s*(\d+(?:\.\d+)*)\s*")
_KEYS = {"size_mb", "python", "import", "exclude", "torch-backend", "override", "no-deps", "recipe"}


@dataclass(frozen=True)
class RequirementSet:
    """What one engine environment holds.

    ``text`` is the whole file, ``module`` what must be importable, ``recipe`` a program's text, empty for none.
    """

    name: str
    text: str
    size_mb: int
    python: str
    module: str
    excludes: tuple[str, ...] = ()
    torch_backend: str | None = None
    overrides: tuple[str, ...] = ()
    without_deps: tuple[str, ...] = ()
    recipe: str = ""

    @classmethod
    def parse(cls, name: str, text: str, folder: Path = _FOLDER.parent) -> RequirementSet:
        """Read a set from its text; a recipe lies in ``folder``. Raises BadInput where a header is missing."""
        pairs = (_HEADER.fullmatch(line.strip()) for line in text.splitlines())
        headers = {m[1]: m[2].strip() for m in pairs if m and m[1] in _KEYS}
        missing = sorted({"size_mb", "python", "import"} - headers.keys())
        if missing:
            raise BadInput(f"requirement set {name}: no header '# {missing[0]}: ...'")
        return cls(
            name=name,
            text=text,
            size_mb=int(headers["size_mb"]),
            python=headers["python"],
            module=headers["import"],
            excludes=tuple(headers.get("exclude", "").split()),
            torch_backend=headers.get("torch-backend"),
            overrides=tuple(headers.get("override", "").split()),
            without_deps=tuple(headers.get("no-deps", "").split()),
            recipe=(folder / headers["recipe"]).read_text(encoding="utf-8") if "recipe" in headers else "",
        )

    def holds_python(self, version: tuple[int, ...]) -> bool:
        """Return whether ``version`` (major, minor, ...) is one that the set can be installed for."""
        return all(_within(bound, version) for bound in self.python.split(","))

    def pinned(self, distribution: str) -> str | None:
        """Return the version that the set pins ``distribution`` to, None where it does not."""
        match = re.search(rf"^{re.escape(distribution)}==(\S+)", self.text, re.MULTILINE)
        return match[1] if match else None


def known_sets() -> list[str]:
    """Return the names of the sets that ship with joulemark, sorted."""
    return sorted(path.name.removesuffix(".txt") for path in _FOLDER.glob("*.txt"))


def load_set(name: str) -> RequirementSet:
    """Return the set called ``name``. Raises BadInput, naming the known ones, where there is none."""
    if name not in known_sets():
        raise BadInput(
            f"no pinned environment is called {name!r}; there are: {', '.join(known_sets())}; "
            "for another version name a prepared one as `environment:` of the engine in the sweep file"
        )
    return RequirementSet.parse(name, (_FOLDER / f"{name}.txt").read_text(encoding="utf-8"))


def _within(bound: str, version: tuple[int, ...]) -> bool:
    match = _BOUND.fullmatch(bound)
    if match is None:
        raise BadInput(f"{bound!r} is not a bound on a Python version; write for example >=3.11")
    limit = tuple(int(part) for part in match[2].split("."))
    ours = version[: len(limit)]
    return {
        ">=": ours >= limit,
        "<=": ours <= limit,
        "==": ours == limit,
        "!=": ours != limit,
        "<": ours < limit,
        ">": ours > limit,
    }[match[1]]
