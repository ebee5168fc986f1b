"""Imports go one way, heavy libraries are loaded in few places, and the schema costs nothing to load."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from house_tree import PACKAGE_INIT, PACKAGES, ROOT, dotted, modules

_WAREHOUSE = "joulemark.warehouse"
ALLOWED = {
    "orchestrator": tuple(f"joulemark.{package}" for package in PACKAGES),
    "agents": ("joulemark.agents", "joulemark.workloads", _WAREHOUSE),
    "workloads": ("joulemark.workloads", *(f"{_WAREHOUSE}.{part}" for part in ("schema", "units", "errors"))),
    "warehouse": (_WAREHOUSE,),
}
"""What each package may import of ours; all may ask ``joulemark`` for its version."""

HOMES = {
    "ray": tuple(
        f"orchestrator/ray_{what}.py" for what in ("agents", "calls", "doctor", "lease", "metrics", "session")
    ),
    "pynvml": ("agents/meters/nvml/api.py",),
    "duckdb": ("warehouse/",),
    "xllamacpp": ("agents/engines/llamacpp_server.py",),
    "vllm": ("agents/engines/vllm_cpu_rank.py",),
    "sglang": (),
    "torch": (),
    "transformers": (),
}
"""Where a library may be imported: files, and folders with a slash."""


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute name) of everything that ``source`` imports, also where only types need it or by a string.

    ``from a import b`` gives ``a.b``, a relative import a name that begins with a dot.
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = "." * node.level + (f"{node.module}." if node.module else "")
            yield from ((node.lineno, start + alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and _called(node) in ("import_module", "__import__"):
            first = node.args[0] if node.args else None
            yield node.lineno, first.value if isinstance(first, ast.Constant) else "<computed>"
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _is_module(node.value):
            # Programs of ours are started by their name: python -m joulemark.agents.client
            yield node.lineno, node.value


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _is_module(text: str) -> bool:
    return text.startswith("joulemark.") and text.replace(".", "_").isidentifier()


def faults(package: str, source: str) -> list[str]:
    """Return what ``source``, a module of ``package``, may not import of ours."""
    found = []
    for line, name in imports(source):
        first = name.split(".")[0]
        if name.startswith("."):
            found.append(f"{line}: relative import {name}: write joulemark.{package}...")
        elif name == "<computed>":
            found.append(f"{line}: a computed import cannot be held to any rule")
        elif first in PACKAGES:
            found.append(f"{line}: import {name}: the bare name belongs to other projects")
        elif first == "joulemark" and name != "joulemark.__version__" and not _within(name, ALLOWED[package]):
            found.append(f"{line}: {package} may not import {name}")
    return found


def _within(name: str, allowed: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in allowed)


def strays(path: str, source: str) -> list[str]:
    """Return the libraries that ``source`` imports away from their home."""
    found = []
    for line, name in imports(source):
        homes = HOMES.get(name.split(".")[0])
        if homes is not None and not any(path == h or (h.endswith("/") and path.startswith(h)) for h in homes):
            found.append(f"{line}: {name} may be imported in {', '.join(homes) or 'no file'}")
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package):
    wrong = [
        f"{path.relative_to(ROOT)}:{fault}" for path in modules(package) for fault in faults(package, path.read_text())
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("package", PACKAGES)
def test_libraries_stay_where_they_belong(package):
    files = [(str(path.relative_to(ROOT)), path.read_text()) for path in modules(package)]
    wrong = [f"{name}:{stray}" for name, source in files for stray in strays(name, source)]
    assert not wrong, "\n".join(wrong)


def test_every_home_is_used():
    """A home that nothing lives in any more would let a stray in later."""
    for library, homes in HOMES.items():
        for home in homes:
            files = (ROOT / home).rglob("*.py") if home.endswith("/") else [ROOT / home]
            names = {name.split(".")[0] for path in files for _, name in imports(path.read_text())}
            assert library in names, f"{home} does not import {library}"


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("warehouse", "from joulemark.workloads.cell import Cell"),
        ("warehouse", "from joulemark import agents"),
        ("workloads", "from joulemark.warehouse.store.layout import trial_file"),
        ("workloads", "from joulemark.warehouse import query"),
        ("workloads", "if TYPE_CHECKING:\n    import joulemark.agents.agent"),
        ("agents", "def f():\n    import joulemark.orchestrator.plan"),
        ("agents", "argv = [python, '-m', 'joulemark.orchestrator.cli']"),
        ("agents", "importlib.import_module('joulemark.orchestrator')"),
        ("agents", "importlib.import_module(name)"),
        ("agents", "from .meters import nvml"),
        ("orchestrator", "import agents.meters"),
        ("orchestrator", "from warehouse import schema"),
    ],
)
def test_a_wrong_way_is_seen(package, source):
    assert faults(package, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("orchestrator/driver.py", "import ray"),
        ("agents/agent.py", "from ray.util import state"),
        ("agents/power.py", "def f():\n    import pynvml"),
        ("orchestrator/have.py", "import duckdb"),
        ("agents/engines/host.py", "import vllm.entrypoints"),
        ("agents/engines/host.py", "importlib.import_module('xllamacpp')"),
    ],
)
def test_a_stray_library_is_seen(path, source):
    assert len(strays(path, source)) == 1


def test_right_ways_pass():
    source = (
        "import rayon\nfrom joulemark import __version__\nfrom joulemark.warehouse.units import S_PER_H\n'joulemark. x'"
    )
    assert faults("workloads", source) == []
    assert strays("orchestrator/ray_session.py", "import ray\nfrom ray.exceptions import RayError") == []


@pytest.mark.parametrize(
    "module",
    ["joulemark", "joulemark.warehouse.schema", "joulemark.workloads.cell", "joulemark.orchestrator.cli"],
)
def test_loading_it_is_cheap(module):
    assert _loaded_by(module) & {"duckdb", "ray", "scipy"} == set()


def test_what_the_check_of_loading_sees():
    assert "duckdb" in _loaded_by("joulemark.warehouse.query.connection")


def _loaded_by(module: str) -> set[str]:
    """Top-level names of the modules that a fresh interpreter has after importing ``module``."""
    code = f"import sys, {module}; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_names_of_modules():
    """The walker's idea of names is Python's own."""
    assert dotted(ROOT / "warehouse" / "schema" / "__init__.py") == "joulemark.warehouse.schema"
    assert PACKAGE_INIT.exists()
