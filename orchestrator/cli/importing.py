"""joulemark import: results of other tools, and exported sweeps."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from joulemark.orchestrator.cli.options import warehouse_option


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--format", "format_name", metavar="NAME", help="vllm-bench, ml-energy or lm-eval; found by itself.")
@click.option("--model", help="Model, in the words of the sweep file.")
@click.option("--revision", help="Revision of its weights.")
@click.option("--quantization", help="Precision of its weights, in the words of the sweep file.")
@click.option("--kv-type", help="Type of the KV cache.")
@click.option("--engine", help="Engine.")
@click.option("--accelerator", help="Accelerator.")
@click.option("--devices", type=click.IntRange(1), help="Number of accelerators.")
@warehouse_option
def import_command(
    files: tuple[Path, ...],
    format_name: str | None,
    model: str | None,
    revision: str | None,
    quantization: str | None,
    kv_type: str | None,
    engine: str | None,
    accelerator: str | None,
    devices: int | None,
    warehouse: str,
) -> None:
    r"""Take in results of other tools, or a sweep that `joulemark export` wrote.

    Results of `vllm bench serve` and ML.ENERGY's task files go into the dataset `imported`, scores of
    lm-evaluation-harness into `quality`, each with its file's name and digest. Imported results are never ranked with
    measured ones, unless `joulemark leaderboard --imported` asks for that.

    \b
      joulemark import my-sweep.tar
      joulemark import results.json --model llama-3.1-8b --quantization bf16 --accelerator H100
    """
    from joulemark.warehouse.bundle.bring_back import bring_back, is_bundle
    from joulemark.warehouse.importers.format import Said
    from joulemark.warehouse.importers.read import import_file
    from joulemark.warehouse.store.location import Warehouse

    place = Warehouse.at(warehouse)
    said = Said(model, revision, quantization, kv_type, engine, accelerator, devices)
    for path in files:
        if format_name is None and is_bundle(path):
            back = bring_back(place, path)
            print(f"{path}: {back.files} files of {back.trials} trials checked, {back.new} of them new here")
            continue
        found = import_file(place, path, format_name=format_name, said=said)
        counts = [f"{n} {what}" for n, what in ((found.results, "results"), (found.scores, "scores")) if n]
        print(f"{path}: {found.format}, {', '.join(counts)}{' (again)' if found.again else ''}")
        for reason in found.left_out:
            print(f"joulemark: {path}: left out {reason}", file=sys.stderr)
