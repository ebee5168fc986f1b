"""Options that several commands share."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_WAREHOUSE = "./joulemark-warehouse"


def warehouse_option(function: F) -> F:
    """Add ``--warehouse``."""
    return click.option(
        "--warehouse",
        "-w",
        default=DEFAULT_WAREHOUSE,
        envvar="JOULEMARK_WAREHOUSE",
        show_default=True,
        metavar="PLACE",
        help="Folder, file:// or s3:// URL of the records (or JOULEMARK_WAREHOUSE).",
    )(function)


def json_option(function: F) -> F:
    """Add ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")(function)


def sweep_argument(function: F) -> F:
    """Add the sweep file."""
    return click.argument("sweep_file", type=click.Path(path_type=Path), metavar="SWEEP.yaml")(function)


def site_option(function: F) -> F:
    """Add ``--site``."""
    return click.option(
        "--site",
        "site_file",
        type=click.Path(path_type=Path),
        metavar="SITE.yaml",
        help="Prices, PUE and power budgets of this place.",
    )(function)


def cluster_option(function: F) -> F:
    """Add ``--cluster``."""
    return click.option(
        "--cluster",
        metavar="ADDRESS",
        help="Ray cluster to run on, as ray.init takes it (for example auto or ray-head:6379). "
        "Without it a local Ray is started.",
    )(function)


def force_option(function: F) -> F:
    """Add ``--force``."""
    return click.option(
        "--force",
        is_flag=True,
        help="Keep combinations that cannot work by all that is known, and those that failed before.",
    )(function)


def show_warnings(warnings: Iterable[str]) -> None:
    """Say on stderr what could not be read."""
    for warning in warnings:
        print(f"joulemark: {warning}", file=sys.stderr)


def keeping_lines(text: str | None) -> str | None:
    """Mark the blocks whose lines click must not fill.

    Its mark is a backspace; in the raw docstrings that linters want for a backslash, two characters stand for it.
    """
    return text.replace("\\b\n", "\b\n") if text is not None else None
