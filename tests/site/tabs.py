"""A browser's tab, and a server of files for it."""

from __future__ import annotations

import http.server
from dataclasses import dataclass, field


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format, *args):  # noqa: A002 -- the signature is http.server's
        """Keep quiet."""


@dataclass
class Tab:
    """One page, and all that went wrong on it."""

    page: object
    wrong: list = field(default_factory=list)

    def go(self, url, ready="html[data-ready]"):
        """Open an address and wait until the page says that it is ready."""
        self.page.goto("about:blank")
        self.page.goto(url)
        self.page.wait_for_selector(ready, state="attached", timeout=60_000)

    def loaded(self):
        """Wait until nothing is being loaded."""
        self.page.locator("main [role=status]", has_text="loading").wait_for(state="detached")

    def settle(self):
        """Wait until all tables are drawn."""
        self.page.wait_for_selector("html[data-settled]", state="attached")

    def values(self, column):
        """Return what a column of the table sorts by, by key of the row."""
        script = """column => Object.fromEntries([...document.querySelectorAll('#groups tr[data-key]')].map(
            row => [row.dataset.key, row.querySelector(`[data-column="${column}"]`)?.dataset.value]))"""
        self.settle()
        found = self.page.evaluate(script, column)
        return {key: float(v) if v not in ("", None) else None for key, v in found.items()}

    def texts(self, column):
        """Return what a column of the table shows, by key of the row."""
        script = """column => Object.fromEntries([...document.querySelectorAll('#groups tr[data-key]')].map(
            row => [row.dataset.key, row.querySelector(`[data-column="${column}"]`).textContent]))"""
        self.settle()
        return self.page.evaluate(script, column)
