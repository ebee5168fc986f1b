"""Run by the interpreter of an SGLang environment: its own parser on command lines of ours.

Reads a JSON list of argument lists (from ``-m`` on), writes a JSON list of what each was parsed to or its ``error``.
"""

import argparse
import contextlib
import json
import sys


class Parser(argparse.ArgumentParser):
    """Raises where argparse would end the process."""

    def error(self, message):
        raise ValueError(message)


def main():
    with contextlib.redirect_stdout(sys.stderr):
        from sglang.srt.server_args import ServerArgs

        parser = Parser()
        ServerArgs.add_cli_args(parser)
    found = []
    for argv in json.load(sys.stdin):
        try:
            args = parser.parse_args(argv[2:])
        except (ValueError, TypeError) as error:
            found.append({"error": str(error)})
        else:
            found.append({key: value for key, value in vars(args).items() if isinstance(value, str | int | float)})
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
