"""Run by the interpreter of a vLLM environment: its own parser on command lines of ours.

Reads a JSON list of argument lists (from ``-m`` or the launcher on), writes a JSON list of what each was parsed to or
its ``error``.
"""

import json
import sys


def main():
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.cli.serve import ServeSubcommand
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    class Parser(FlexibleArgumentParser):
        def error(self, message):
            raise ValueError(message)

    server = make_arg_parser(Parser())
    commands = Parser()
    ServeSubcommand().subparser_init(commands.add_subparsers(required=True, dest="subparser", parser_class=Parser))
    found = []
    for argv in json.load(sys.stdin):
        by_launcher = argv[0] != "-m"
        module, words = ("vllm.entrypoints.cli.main", argv[1:]) if by_launcher else (argv[1], argv[2:])
        parser = {"vllm.entrypoints.openai.api_server": server, "vllm.entrypoints.cli.main": commands}[module]
        try:
            args = parser.parse_args(words)
            validate_parsed_serve_args(args)
            AsyncEngineArgs.from_cli_args(args)
        except (ValueError, TypeError, SystemExit) as error:
            found.append({"error": str(error)})
        else:
            found.append({key: value for key, value in vars(args).items() if isinstance(value, str | int | float)})
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
