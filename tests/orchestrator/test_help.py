"""Help texts: every option has one, every command an example that works, in the order of work; shells complete them."""

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest

from joulemark.orchestrator.cli import cli

JOULEMARK = str(Path(sys.executable).with_name("joulemark"))
IN_ORDER = ["init", "doctor", "plan", "run", "status", "sql", "leaderboard", "compare", "check", "publish"]
EXAMPLE = re.compile(r"^ {2,}joulemark (?P<arguments>.+)$", re.MULTILINE)
COLUMNS = re.compile(r" {2,}")
"""Between a command line and what it does."""
LONGEST_LINE = 120


def commands(group=cli, above=()):
    """Yield (words, command) of all commands below a group."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*above, name))
        yield (*above, name), command


ALL = [pytest.param(words, command, id=" ".join(words)) for words, command in commands()]


def examples(command):
    """Return the arguments of the examples in a command's help."""
    text = f"{inspect.cleandoc(command.help or '')}\n{command.epilog or ''}"
    return [shlex.split(found["arguments"]) for found in EXAMPLE.finditer(text)]


def test_commands_come_in_the_order_of_work():
    context = click.Context(cli)
    listed = cli.list_commands(context)
    assert listed[: len(IN_ORDER)] == IN_ORDER
    shown = [line.split()[0] for line in cli.get_help(context).split("Commands:\n")[1].splitlines() if line.strip()]
    assert shown == listed


@pytest.mark.parametrize(("words", "command"), ALL)
def test_every_option_says_what_it_does(words, command):
    silent = [p.opts[0] for p in command.params if isinstance(p, click.Option) and not (p.help or "").strip()]
    assert silent == []
    assert (command.help or "").strip()


@pytest.mark.parametrize(("words", "command"), ALL)
def test_every_command_has_an_example_and_each_is_one(words, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    # What is checked beforehand must be there.
    (tmp_path / "my-sweep.tar").touch()
    own = [found for found in examples(command) if found[: len(words)] == list(words)]
    assert own, f"joulemark {' '.join(words)} has no example"
    for found in own:
        command.make_context(words[-1], found[len(words) :])


def test_the_first_examples_are_command_lines():
    found = [COLUMNS.split(m["arguments"])[0].split() for m in EXAMPLE.finditer(inspect.cleandoc(cli.help))]
    assert found
    for name, *arguments in found:
        cli.commands[name].make_context(name, arguments)


@pytest.mark.parametrize(("words", "command"), ALL)
def test_examples_are_shown_as_they_are_written(words, command):
    shown = command.get_help(click.Context(command, info_name=" ".join(("joulemark", *words)), max_content_width=200))
    for found in EXAMPLE.finditer(inspect.cleandoc(command.help)):
        assert found[0].strip() in [line.strip() for line in shown.splitlines()]
        assert len(found[0]) <= LONGEST_LINE


# Completion.


def completed(words, shell="bash", **more):
    environment = {**os.environ, "_JOULEMARK_COMPLETE": f"{shell}_complete", "COMP_WORDS": shlex.join(words), **more}
    environment["COMP_CWORD"] = str(len(words) - 1)
    done = subprocess.run([JOULEMARK], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""
    return done.stdout.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_the_shell_is_printed(shell):
    if shell == "bash" and shutil.which("bash") is None:
        pytest.skip("no bash here")
    environment = {**os.environ, "_JOULEMARK_COMPLETE": f"{shell}_source"}
    done = subprocess.run([JOULEMARK], env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"_JOULEMARK_COMPLETE={shell}_complete" in done.stdout


def test_commands_and_options_are_completed():
    assert completed(["joulemark", "st"]) == ["plain,status"]
    assert completed(["joulemark", "pl"]) == ["plain,plan"]
    assert {"plain,--watch", "plain,--warehouse"} <= set(completed(["joulemark", "status", "--w"]))
    assert "plain,standard" in completed(["joulemark", "check", "--min-grade", "st"])


def test_files_are_left_to_the_shell():
    assert completed(["joulemark", "plan", "sw"]) == ["file,sw"]


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_completes_with_the_documented_line():
    line = 'eval "$(_JOULEMARK_COMPLETE=bash_source joulemark)"'
    ask = 'COMP_WORDS=(joulemark st); COMP_CWORD=1; _joulemark_completion joulemark; echo "${COMPREPLY[@]}"'
    environment = {**os.environ, "PATH": f"{Path(JOULEMARK).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{line}\n{ask}"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout.split() == ["status"], done.stderr
