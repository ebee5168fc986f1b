"""The pages' HTML: templates whose gaps are filled with escaped text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape
from importlib import resources

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'none'; "
    "base-uri 'none'; form-action 'none'; object-src 'none'"
)
"""What a page may do: run our scripts, use our style, and ask no host for anything."""
SQL_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; object-src 'none'"
)
"""The page with the database may compile it, and fetch the tables from its own host."""

_GAP = re.compile(r"\{\{(\w+)\}\}")


def page(template: str, *, title: str, policy: str = POLICY, **html: str) -> bytes:
    """Return a page; ``title`` is text, ``html`` holds what is HTML already."""
    text = resources.files("joulemark.warehouse.site").joinpath("web", f"{template}.html").read_text(encoding="utf-8")
    values = {"title": escape(title), "policy": escape(policy), **html}
    return _GAP.sub(lambda gap: values[gap[1]], text).encode()


def links(*, sql: bool) -> str:
    """Return the links to the pages beside the leaderboard."""
    pages = [("sql.html", "SQL")] if sql else []
    pages += [("method.html", "Method"), ("history.html", "History")]
    return "\n".join(f'<a href="{name}">{title}</a>' for name, title in pages)


def prose(text: str) -> str:
    """Return paragraphs of text with `code` in them as HTML; of links their text stays."""
    parts = []
    for block in text.strip().split("\n\n"):
        flat = re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", " ".join(block.split()))
        parts.append(f"<p>{inline(flat)}</p>")
    return "\n".join(parts)


def inline(text: str) -> str:
    """Return one line of text with `code` in it as HTML."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))


def table(label: str, heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a table whose cells are text with `code` in it."""
    head = "".join(f'<th scope="col">{inline(h)}</th>' for h in heads)
    body = "".join("<tr>" + "".join(f"<td>{inline(cell)}</td>" for cell in row) + "</tr>\n" for row in rows)
    # A table can be wider than a phone.
    opening = f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">'
    return f"{opening}<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody>\n</table></div>"
