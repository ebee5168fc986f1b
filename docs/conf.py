"""How Sphinx makes the documentation's site: ``sphinx-build -W docs public``."""

from __future__ import annotations

project = "joulemark"
copyright = "the joulemark authors"  # noqa: A001 -- the name is Sphinx's
extensions = ["myst_parser"]
html_theme = "furo"
html_title = "joulemark"
myst_heading_anchors = 4
exclude_patterns = ["images"]
