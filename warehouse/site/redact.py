"""Take host names, addresses, paths and user names out of text that is published.

Nodes become `node-1`, `node-2`, ...; the same node is the same everywhere. Of a path its last part stays, because it
says which file it was. What a place is called in words that no rule knows cannot be found: look before you publish.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

VERSIONS = "versions"
PATH, ADDRESS, USER = "<path>", "<address>", "<user>"

_SHORTEST = 2
"""A node or user of fewer letters is replaced only where it stands alone in a field or a path, not inside text."""
_COMMON = frozenset({"root", "user", "ubuntu", "admin", "home", "shared", "runner", "cpu", "gpu", "node", "localhost"})
_HOME = re.compile(r"/(?:home|Users|users)/([^/\s'\":,;()<>|\]}]+)")
_PART = r"[^\s/'\",;:()<>|\[\]{}]+"
_FILE = re.compile(rf"(?<![\w.:/<>@-])(?:~[\w.-]*)?/(?:{_PART}/)+({_PART})?|~/(?:{_PART}/)*({_PART})?")
_LOCAL_URL = re.compile(r"\bfile://(?=/)", re.IGNORECASE)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>)\]}]+", re.IGNORECASE)
_EMAIL = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)*")
_IPV4 = re.compile(r"(?<![\w.=-])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\w)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?:%\w+)?(?![\w:])", re.IGNORECASE)
_MAC = re.compile(r"\b(?:[0-9a-f]{2}[:-]){5}[0-9a-f]{2}\b", re.IGNORECASE)
_DOMAIN = re.compile(
    r"(?<![\w.@/-])(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+"
    r"(?:com|net|org|edu|gov|io|dev|cloud|local|lan|localdomain|internal|intra|intranet|corp|home|de|uk|fr|eu|ch|cn|jp)"
    r"(?![\w.-])",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Redactor:
    """Replaces what says where records were taken. Without ``on`` all text stays as it is."""

    nodes: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    on: bool = True

    @cached_property
    def aliases(self) -> dict[str, str]:
        """Published name of every node."""
        return {name: f"node-{i}" for i, name in enumerate(sorted(set(self.nodes)), 1)}

    @cached_property
    def _names(self) -> re.Pattern[str] | None:
        wanted = [n for n in (*self.aliases, *self.users) if len(n) >= _SHORTEST and n.lower() not in _COMMON]
        if not wanted:
            return None
        listed = "|".join(re.escape(n) for n in sorted(wanted, key=len, reverse=True))
        return re.compile(rf"(?<![A-Za-z0-9_])({listed})(?:\.[A-Za-z][\w-]*)*(?![A-Za-z0-9_])")

    def text(self, text: str) -> str:
        """Return ``text`` without names of hosts and users, addresses and paths."""
        if not self.on:
            return text
        if text in self.aliases:
            return self.aliases[text]
        text = _URL.sub(ADDRESS, _LOCAL_URL.sub("", text))
        text = _FILE.sub(_path, text)
        for pattern in (_EMAIL, _MAC, _DOMAIN):
            text = pattern.sub(ADDRESS, text)
        text = _IPV4.sub(_address, text)
        text = _IPV6.sub(_address, text)
        if "/" in text:
            text = "/".join(self.aliases.get(part, part) for part in text.split("/"))
        return text if self._names is None else self._names.sub(self._name, text)

    def value(self, value: Any) -> Any:
        """Return a JSON value with all its texts redacted, keys too."""
        if isinstance(value, str):
            return self._text_or_json(value)
        if isinstance(value, dict):
            return {self.text(k): self._versions(v) if k == VERSIONS else self.value(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.value(v) for v in value]
        return value

    def table(self, table: pa.Table) -> pa.Table:
        """Return a table with the texts of all its columns redacted."""
        if not self.on:
            return table
        columns = [c if n == VERSIONS else self._column(c) for n, c in zip(table.column_names, table, strict=True)]
        return pa.table(columns, schema=table.schema)

    def _column(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        kind = column.type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            encoded = column.combine_chunks().dictionary_encode()
            words = pa.array([self.value(w) for w in encoded.dictionary.to_pylist()], kind)
            return pa.chunked_array([words.take(encoded.indices)], kind)
        if pa.types.is_nested(kind) and _holds_text(kind):
            return pa.chunked_array([pa.array([self._nested(v) for v in column.to_pylist()], kind)], kind)
        return column

    def _nested(self, value: Any) -> Any:
        """Return a nested value; a map comes as pairs."""
        if isinstance(value, tuple):
            return tuple(self._nested(v) for v in value)
        if isinstance(value, list):
            return [self._nested(v) for v in value]
        if isinstance(value, dict):
            return {k: self._nested(v) for k, v in value.items()}
        return self.value(value)

    def _text_or_json(self, text: str) -> str:
        if not self.on or text[:1] not in ("{", "["):
            return self.text(text)
        try:
            found = json.loads(text)
        except ValueError:
            return self.text(text)
        return json.dumps(self.value(found), ensure_ascii=False, sort_keys=True)

    def _versions(self, value: Any) -> Any:
        """Return versions as they are: 12.4.5.8 is no address there."""
        return value if isinstance(value, dict | str) else self.value(value)

    def _name(self, match: re.Match[str]) -> str:
        return self.aliases.get(match[1], USER)


def redactor(nodes: Iterable[str], texts: Iterable[str], *, on: bool) -> Redactor:
    """Return what redacts these nodes and every user whose home folder is named in one of ``texts``."""
    users = {found for text in texts for found in _HOME.findall(text)}
    return Redactor(tuple(nodes), tuple(sorted(users)), on)


def _holds_text(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_holds_text(kind.field(i).type) for i in range(kind.num_fields))
    return bool(pa.types.is_string(kind))


def _path(match: re.Match[str]) -> str:
    whole = match[0].rstrip("/")
    last = whole.rpartition("/")[2]
    # The last part of a home folder is its user's name.
    return PATH if _HOME.fullmatch(whole) or not last or "~" in last else f"{PATH}/{last}"


def _address(match: re.Match[str]) -> str:
    try:
        ipaddress.ip_address(match[0].partition("%")[0])
    except ValueError:
        return match[0]
    return ADDRESS
