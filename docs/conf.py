"""How Sphinx makes the documentation's site: ``sphinx-build -W docs public``."""

from __future__ import annotations

import posixpath
import re
from typing import Any

project = "joulemark"
copyright = "the joulemark authors"  # noqa: A001 -- the name is Sphinx's
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "joulemark"
myst_heading_anchors = 4
exclude_patterns = ["images"]

REPOSITORY = "https://github.com/joulemark/joulemark/blob/main/"
UPWARDS = re.compile(r"\]\((\.\./[^)\s]*)\)")


def lead_outside(_: Any, page: str, source: list[str]) -> None:
    """Let links to files of the repository that are no pages lead to the repository."""

    def lead(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link[1]))
        return link[0] if target.startswith("docs/") else f"]({REPOSITORY}{target})"

    source[0] = UPWARDS.sub(lead, source[0])


def setup(app: Any) -> None:
    """Register what is above with Sphinx."""
    app.connect("source-read", lead_outside)
