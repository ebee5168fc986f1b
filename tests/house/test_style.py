"""House rules that no linter knows, and the linters themselves."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from house_tree import PACKAGES, ROOT, modules, tracked

LINES_AT_MOST = 400
MEDIAN_LINES_AT_MOST = 150
# Put together from parts, so that this file does not hold them either.
MACHINE = ["/".join(parts) for parts in (("", "work"), ("", "tmp", "w"), ("", "opt", "pypi"), ("", "opt", "wheels"))]
HOSTS = [".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("npmjs", "com"))]
PROMISES = ["TO" + "DO", "FIX" + "ME"]
FORBIDDEN = {
    "a path of one machine": re.compile(rf"(?<![\w.-])(?:{'|'.join(MACHINE)})(?![\w.-])"),
    "a package registry's host": re.compile(rf"\b(?:{'|'.join(map(re.escape, HOSTS))})\b"),
    "an unkept promise": re.compile(rf"\b(?:{'|'.join(PROMISES)})\b"),
}
NOQA = re.compile(r"#\s*(?:ruff:\s*)?noqa\b(?P<rest>.*)", re.IGNORECASE)
NOQA_WITH_REASON = re.compile(r":\s*[A-Z]+[0-9]+(?:\s*,\s*[A-Z]+[0-9]+)*\s+--\s+\S.*")
HERE = Path(__file__).relative_to(ROOT)
BROAD = {"Exception", "BaseException"}


def python_files() -> list[Path]:
    """Return our Python files, those of the tests too."""
    own = [path for package in PACKAGES for path in modules(package)]
    return [*own, *(ROOT / "src" / "joulemark").glob("*.py"), *sorted((ROOT / "tests").rglob("*.py"))]


def lines_of(path: Path) -> int:
    return len(path.read_text().splitlines())


def test_modules_are_short():
    long = [f"{p.relative_to(ROOT)}: {n} lines" for p in python_files() if (n := lines_of(p)) > LINES_AT_MOST]
    assert not long, f"over {LINES_AT_MOST} lines: {long}"


def test_the_median_module_is_short():
    sizes = [lines_of(p) for package in PACKAGES for p in modules(package) if p.name != "__init__.py"]
    assert statistics.median(sizes) <= MEDIAN_LINES_AT_MOST


def swallowed(source: str) -> Iterator[int]:
    """Yield the lines where an error is taken and nothing is done: a handler that only passes, a broad suppress."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler):
            idle = all(isinstance(s, ast.Pass) or _is_ellipsis(s) for s in node.body)
            skips = all(isinstance(s, ast.Pass | ast.Continue | ast.Break) or _is_ellipsis(s) for s in node.body)
            if idle or (skips and (node.type is None or _names(node.type) & BROAD)):
                yield node.lineno
        elif isinstance(node, ast.Call) and _name(node.func) == "suppress" and _is_broad(node.args):
            yield node.lineno


def _is_broad(kinds: list[ast.expr]) -> bool:
    return not kinds or any(_names(kind) & BROAD for kind in kinds)


def _is_ellipsis(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _names(node: ast.expr) -> set[str]:
    return {_name(e) for e in node.elts} if isinstance(node, ast.Tuple) else {_name(node)}


def test_no_error_is_swallowed():
    wrong = [f"{path.relative_to(ROOT)}:{line}" for path in python_files() for line in swallowed(path.read_text())]
    assert not wrong, f"an error is taken and nothing is done: {wrong}"


@pytest.mark.parametrize(
    "source",
    [
        "try: f()\nexcept: pass",
        "try: f()\nexcept OSError: ...",
        "try: f()\nexcept OSError:\n    'it is fine'",
        "for x in y:\n    try: f()\n    except Exception: continue",
        "for x in y:\n    try: f()\n    except (OSError, BaseException): break",
        "with contextlib.suppress(Exception): f()",
        "with suppress(): f()",
    ],
)
def test_a_swallowed_error_is_seen(source):
    assert len(list(swallowed(source))) == 1


def test_handling_an_error_passes():
    source = "for x in y:\n    try: f()\n    except KeyError: continue\nwith suppress(OSError): f()"
    assert list(swallowed(source)) == []


def text_files() -> Iterator[tuple[Path, str]]:
    """Yield the tracked text files."""
    for name in tracked():
        content = b"\0" if (ROOT / name).is_symlink() else (ROOT / name).read_bytes()
        if b"\0" not in content:
            yield name, content.decode()


def forbidden(text: str) -> Iterator[tuple[int, str]]:
    """Yield (line, what is wrong with it)."""
    for number, line in enumerate(text.splitlines(), 1):
        yield from ((number, what) for what, pattern in FORBIDDEN.items() if pattern.search(line))


def test_nothing_is_said_that_belongs_elsewhere():
    wrong = [f"{name}:{line}: {what}" for name, text in text_files() for line, what in forbidden(text)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    "text", [*MACHINE, *(f"cd {m}/main" for m in MACHINE), f"https://{HOSTS[0]}/simple", f"# {PROMISES[0]}: later"]
)
def test_a_forbidden_word_is_seen(text):
    assert len(list(forbidden(text))) == 1


@pytest.mark.parametrize("text", ["/home/work/x", "some/work/folder", "/workloads/x", "the todo list", "/work-dir"])
def test_other_words_pass(text):
    assert list(forbidden(text)) == []


def bare_noqas(text: str) -> Iterator[int]:
    """Yield the lines with a ``noqa`` that names no rule or gives no reason behind ``--``."""
    for number, line in enumerate(text.splitlines(), 1):
        found = NOQA.search(line)
        if found and not NOQA_WITH_REASON.match(found["rest"]):
            yield number


def test_every_noqa_has_a_reason():
    files = [path for path in python_files() if path.relative_to(ROOT) != HERE]
    wrong = [f"{path.relative_to(ROOT)}:{line}" for path in files for line in bare_noqas(path.read_text())]
    assert not wrong, f"no rule or no reason behind --: {wrong}"


@pytest.mark.parametrize("text", ["x  # noqa", "x  # noqa: E501", "x  # noqa: E501 --", "# ruff: noqa", "x  #NOQA:E1"])
def test_a_bare_noqa_is_seen(text):
    assert list(bare_noqas(text)) == [1]


def test_a_noqa_with_a_reason_passes():
    assert list(bare_noqas("x  # noqa: E501, S608 -- a table is wider\n")) == []


@pytest.mark.parametrize("tool", [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]], ids=" ".join)
def test_the_linters_pass(tool):
    done = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
