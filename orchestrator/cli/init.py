"""joulemark init: a first sweep file and site file, for what this machine has."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import click

from joulemark.orchestrator.inventory import Node, this_machine
from joulemark.warehouse.errors import BadInput

EXAMPLES = files("joulemark.workloads.examples")
SWEEP, SITE = "sweep.yaml", "site.yaml"
IN_EXAMPLES = re.compile(r"workloads/examples/[\w-]+\.yaml")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
@click.option("--force", is_flag=True, help="Write over files that are there.")
def init(folder: Path, force: bool) -> None:
    r"""Write a commented sweep file and site file, to be changed and run.

    The sweep is for what this machine has: its NVIDIA GPUs with vLLM and SGLang, or its CPU with llama.cpp.

    \b
      joulemark init my-sweep
      joulemark plan my-sweep/sweep.yaml
    """
    texts = {SWEEP: sweep_text(this_machine()), SITE: (EXAMPLES / SITE).read_text(encoding="utf-8")}
    there = [str(folder / name) for name in texts if (folder / name).exists()]
    if there and not force:
        raise BadInput(f"{', '.join(there)}: is there already; name another folder, or give --force to write over it")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{error.filename}: {error.strerror}; name another folder") from error
    print(f"wrote {folder / SWEEP} and {folder / SITE}; next: joulemark plan {folder / SWEEP}")


def sweep_text(machine: Node) -> str:
    """Return the example for the machine: with its own accelerator where it has one, else on the CPU."""
    name = "gpu.yaml" if machine.accelerator else "quickstart.yaml"
    text = IN_EXAMPLES.sub(SWEEP, (EXAMPLES / name).read_text(encoding="utf-8"))
    return text.replace("accelerator: H100", f"accelerator: {machine.accelerator}") if machine.accelerator else text
