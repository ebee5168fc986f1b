"""Make the environments of engines ahead of their use: ``python -m joulemark.agents.environments vllm-0.33.0``."""

from __future__ import annotations

import sys

from joulemark.agents.environments.make import ensure_environment
from joulemark.agents.environments.sets import known_sets
from joulemark.agents.home import joulemark_home
from joulemark.warehouse.errors import JoulemarkError


def main(names: list[str]) -> int:
    """Make each environment that is missing and print its interpreter. Returns the exit code."""
    if not names:
        print(f"name one or more of: {', '.join(sorted(known_sets()))}", file=sys.stderr)
        return 2
    try:
        for name in names:
            print(ensure_environment(name, joulemark_home(), lambda text: print(text, file=sys.stderr)))
    except JoulemarkError as error:
        print(f"joulemark: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
