"""Code blocks of the documentation's pages."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
FENCED = re.compile(r"^```(?P<language>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> list[str]:
    """Return the texts of a page's blocks in one language, in order."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return [found["text"] for found in FENCED.finditer(text) if found["language"] == language]
