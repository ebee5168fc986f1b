"""Every `joulemark ...` in the README and the pages names a command that exists, with options that it has."""

import contextlib
import re
import shlex
import sys
from itertools import dropwhile
from pathlib import Path

import click
import pytest

from joulemark.orchestrator.cli import cli

sys.path.insert(0, str(Path(__file__).parent))
from pages import FENCED, ROOT

PAGES = ["README.md", *sorted(p.relative_to(ROOT).as_posix() for p in (ROOT / "docs").rglob("*.md"))]
SHELLS = ("sh", "bash", "console")
INLINE = re.compile(r"`joulemark\s([^`]*)`")
ASSIGNMENT = re.compile(r"[A-Za-z_]+=")
COMPLETION = "_JOULEMARK_COMPLETE="
"""Asks for no command."""
OPERATORS = frozenset({"&&", "||", "|", ";", "&", ">", "2>", ">>"})


def command_lines(text):
    """Yield the arguments of every call of joulemark in the shell blocks of a page."""
    for block in FENCED.finditer(text):
        if block["language"] in SHELLS:
            for line in block["text"].replace("\\\n", " ").splitlines():
                yield from calls(line)


def calls(line):
    """Yield the arguments of every call of joulemark in a line of shell."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    command = []
    for word in [*lexer, "&&"]:
        if word not in OPERATORS:
            command.append(word)
            continue
        program, *arguments = [*dropwhile(ASSIGNMENT.match, command), ""]
        if program.rpartition("/")[2] == "joulemark" and not command[0].startswith(COMPLETION):
            yield arguments[:-1]
        command = []


def wrong(arguments):
    """Return what click has to say against a whole command line, None where it is one."""
    try:
        with contextlib.suppress(click.exceptions.Exit):
            context = cli.make_context("joulemark", list(arguments))
            name, command, rest = cli.resolve_command(context, [*context._protected_args, *context.args])
            command.make_context(name, rest, parent=context)
    except click.UsageError as error:
        return error.format_message()
    return None


def wrong_mention(text):
    """Return what is wrong with a command in running text, which may leave out what it works on."""
    words = [w for w in shlex.split(text.replace("\n", " "), comments=False) if w not in OPERATORS]
    first = words[0]
    if first.startswith("-"):
        return None if first in ("--help", "--version") else f"joulemark has no {first}"
    command = cli.commands.get(first)
    if command is None:
        return None if first == "COMMAND" else f"joulemark has no command {first}"
    known = {"-h", "--help", *(name for p in command.params for name in (*p.opts, *p.secondary_opts))}
    options = [w.partition("=")[0] for w in words[1:] if re.match(r"--?[a-z]", w)]
    return next((f"{first} has no {o}" for o in options if o not in known), None)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder in which files are that a command line may only name where they exist."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my-sweep.tar").touch()


@pytest.mark.parametrize("page", PAGES)
def test_command_lines_are_ones(page, files):
    text = (ROOT / page).read_text(encoding="utf-8")
    found = [f"joulemark {shlex.join(a)}: {why}" for a in command_lines(text) if (why := wrong(a)) is not None]
    outside = FENCED.sub("", text)
    found += [f"`joulemark {m[1]}`: {why}" for m in INLINE.finditer(outside) if (why := wrong_mention(m[1]))]
    assert found == []


def test_command_lines_are_found_at_all():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(list(command_lines(text))) > 5


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('.venv/bin/joulemark sql "from leaderboard" --csv | head', [["sql", "from leaderboard", "--csv"]]),
        ("make && joulemark run a.yaml && joulemark check   # both", [["run", "a.yaml"], ["check"]]),
        ("JOULEMARK_HOME=/x joulemark doctor", [["doctor"]]),
        ('eval "$(_JOULEMARK_COMPLETE=bash_source joulemark)"', []),
        ("_JOULEMARK_COMPLETE=fish_source joulemark | source", []),
        ("python3 -m venv joulemark && cd joulemark", []),
        ("python -m joulemark.orchestrator.ray_environment", []),
    ],
)
def test_calls_are_cut_out_of_a_line(line, found):
    assert list(calls(line)) == found


@pytest.mark.parametrize(
    "arguments",
    [["frobnicate"], ["run"], ["run", "a.yaml", "--fast"], ["status", "--every", "soon"], ["plan", "a", "b"]],
)
def test_a_wrong_one_is_seen(arguments):
    assert wrong(arguments) is not None


@pytest.mark.parametrize("text", ["frobnicate", "run --fast", "status --wach"])
def test_a_wrong_mention_is_seen(text):
    assert wrong_mention(text) is not None


@pytest.mark.parametrize("text", ["run --cluster", "sql", "--help", "plan SWEEP.yaml\n--simulate"])
def test_a_right_mention_passes(text):
    assert wrong_mention(text) is None
