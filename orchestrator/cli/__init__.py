"""The command line: one file per command, in the order of work."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import click

from joulemark import __version__
from joulemark.orchestrator.cli.check import check
from joulemark.orchestrator.cli.compact import compact
from joulemark.orchestrator.cli.compare import compare
from joulemark.orchestrator.cli.doctor import doctor
from joulemark.orchestrator.cli.export import export
from joulemark.orchestrator.cli.importing import import_command
from joulemark.orchestrator.cli.init import init
from joulemark.orchestrator.cli.leaderboard import leaderboard
from joulemark.orchestrator.cli.options import keeping_lines
from joulemark.orchestrator.cli.plan import plan
from joulemark.orchestrator.cli.prune import prune
from joulemark.orchestrator.cli.publish import publish
from joulemark.orchestrator.cli.run import run
from joulemark.orchestrator.cli.sql import sql
from joulemark.orchestrator.cli.status import status
from joulemark.orchestrator.cli.verify import verify
from joulemark.warehouse.errors import JoulemarkError

INTERRUPTED = 130
NOWHERE_TO_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


class Workflow(click.Group):
    """Lists its commands in the order in which they are used, not by the alphabet."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.help = keeping_lines(self.help)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        """Take in a command."""
        cmd.help = keeping_lines(cmd.help)
        super().add_command(cmd, name)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- the signature is click's
        """Return the names as they were added."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. A reader that has seen enough of our output, as `head` has, is no error."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except BrokenPipeError:
            # Caught here, because click would make exit code 1 of it.
            _drop_output()
            sys.exit(0)
        return result


@click.group(cls=Workflow, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="joulemark")
def cli() -> None:
    r"""What does a token cost, in joules and in dollars, on this model, engine, precision and GPU?

    A sweep file goes in; a warehouse that can be queried and a leaderboard come out:

    \b
      joulemark init                  write a first sweep.yaml, for what this machine has
      joulemark plan sweep.yaml       what would run, where, for how long
      joulemark run sweep.yaml        run it; the same command again goes on where it stopped
      joulemark status --watch        how far it is, from another terminal
      joulemark leaderboard           what came out

    joulemark COMMAND --help says more of each, with examples. Commands and options are completed by the shell:

    \b
      eval "$(_JOULEMARK_COMPLETE=bash_source joulemark)"      in ~/.bashrc; zsh_source for zsh
    """


for command in (
    *(init, doctor, plan, run, status, sql, leaderboard, compare, check, publish),
    *(export, import_command, compact, prune, verify),
):
    cli.add_command(command)


def main() -> None:
    """Run the command line; a user error is one line on stderr, never a traceback."""
    _have_streams()
    try:
        sys.exit(cli.main(standalone_mode=False))
    except JoulemarkError as error:
        print(f"joulemark: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.errno not in NOWHERE_TO_WRITE:
            raise
        _drop_output()
        print(f"joulemark: cannot write the output: {os.strerror(error.errno)}", file=sys.stderr)
        sys.exit(2)


def _have_streams() -> None:
    """Let what is written to a stream that the caller closed go nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 -- it stays open to the end


def _drop_output() -> None:
    """Let what is still in the buffer of stdout go nowhere, or its flush at exit would be an error again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
