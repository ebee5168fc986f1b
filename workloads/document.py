"""YAML in which every value knows its place, so that every error can name file, line and column.

Scalars follow YAML 1.2: only ``true`` and ``false`` are booleans, so that ``no``, ``on`` and ``1:30`` stay text.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from joulemark.warehouse.errors import BadInput, NewerSchema
from joulemark.warehouse.units import seconds
from joulemark.workloads.nearest import suggestion

SCHEMA = 1
_INTEGER = re.compile(r"[-+]?\d+")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?")
_WORDS = {"true": True, "True": True, "false": False, "False": False, "null": None, "Null": None, "~": None, "": None}

Plain = str | int | float | bool | None


@dataclass(frozen=True)
class Item:
    """One value of a YAML document: a scalar, a tuple of items, or a mapping of items.

    ``where`` is ``file:line:column`` of its first character, ``keys`` the places of a mapping's keys.
    """

    value: Plain | tuple[Item, ...] | dict[str, Item]
    where: str
    keys: dict[str, str] = field(default_factory=dict)

    def error(self, message: str) -> BadInput:
        """Return the error that ``message`` holds at this place."""
        return BadInput(f"{self.where}: {message}")

    def expected(self, what: str) -> BadInput:
        """Return the error that something else was expected here."""
        return self.error(f"expected {what}, found {self.shown()}")

    def shown(self) -> str:
        """Return the value as an error line names it."""
        if isinstance(self.value, tuple):
            return "a list"
        if isinstance(self.value, dict):
            return "a mapping"
        return "nothing" if self.value is None else repr(self.value)

    def plain(self) -> Any:
        """Return the value without places: scalars, lists and dicts."""
        if isinstance(self.value, tuple):
            return [item.plain() for item in self.value]
        if isinstance(self.value, dict):
            return {key: item.plain() for key, item in self.value.items()}
        return self.value

    def mapping(self, what: str) -> dict[str, Item]:
        """Return the items of a mapping with any keys."""
        if not isinstance(self.value, dict):
            raise self.expected(what)
        return self.value

    def fields(self, known: Collection[str], what: str, required: Collection[str] = ()) -> dict[str, Item]:
        """Return the items of a mapping whose keys are among ``known``, with all of ``required``."""
        items = self.mapping(what)
        for key in items:
            if key not in known:
                raise BadInput(f"{self.keys[key]}: unknown key {key!r} in {what}: {suggestion(key, known)}")
        for key in required:
            if key not in items:
                raise self.error(f"{what} lacks the key {key!r}")
        return items

    def elements(self) -> tuple[Item, ...]:
        """Return the items of a list, or the value itself as the only one."""
        return self.value if isinstance(self.value, tuple) else (self,)

    def scalar(self, what: str) -> Plain:
        """Return text, number, boolean or null."""
        if isinstance(self.value, tuple | dict):
            raise self.expected(what)
        return self.value

    def text(self, what: str) -> str:
        """Return a text that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            hint = "; write it in quotes" if isinstance(self.value, int | float) else ""
            raise self.expected(f"{what}{hint}")
        return self.value

    def one_of(self, words: Collection[str], what: str) -> str:
        """Return a text that is among ``words``."""
        word = self.text(what)
        if word not in words:
            raise self.error(f"{word!r} is no {what}: {suggestion(word, words)}")
        return word

    def whole(self, what: str, least: int = 0) -> int:
        """Return a whole number of at least ``least``."""
        value = self.value
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.expected(f"{what}, a whole number")
        if value < least:
            raise self.error(f"{what} must be at least {least}, found {value}")
        return value

    def number(self, what: str, least: float = 0.0) -> float:
        """Return a number of at least ``least``."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.expected(f"{what}, a number")
        if self.value < least:
            raise self.error(f"{what} must be at least {least:g}, found {self.value}")
        return float(self.value)

    def flag(self, what: str) -> bool:
        """Return true or false."""
        if not isinstance(self.value, bool):
            raise self.expected(f"{what}, true or false")
        return self.value

    def duration_s(self, what: str) -> float:
        """Return the seconds of a duration such as ``30s`` or ``60ms``."""
        if isinstance(self.value, tuple | dict) or self.value is None:
            raise self.expected(f"{what}, a duration such as 30s")
        try:
            return seconds(self.value)
        except ValueError as error:
            raise self.error(f"{what}: {error}") from None

    def date(self, what: str) -> dt.date:
        """Return a date written as 2026-11-20."""
        try:
            return dt.date.fromisoformat(self.text(f"{what}, a date such as 2026-11-20"))
        except ValueError:
            raise self.expected(f"{what}, a date such as 2026-11-20") from None


def read_text_file(path: Path, what: str) -> str:
    """Return the text of the file ``path``; ``what`` is its kind in messages, such as ``sweep``. Raises BadInput."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput(f"there is no {what} file {path}") from None
    except UnicodeDecodeError:
        raise BadInput(f"the {what} file {path} is not text in UTF-8; give another one") from None
    except OSError as error:
        raise BadInput(f"the {what} file {path} cannot be read: {error.strerror}") from None


def parse_document(text: str, name: str) -> Item:
    """Return the one YAML document in ``text``; ``name`` is its name in messages.

    Raises BadInput for what is no YAML, is empty, refers to itself, or has a key twice.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise BadInput(f"{where}: not valid YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise BadInput(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
    if node is None:
        raise BadInput(f"{name}:1:1: the file is empty")
    return _item(node, name, ())


def check_schema(top: Item, what: str) -> None:
    """Check the key ``schema`` of a file. Raises NewerSchema where a newer joulemark wrote it."""
    item = top.mapping(what).get("schema")
    if item is None:
        raise top.error(f"{what} lacks the key 'schema': write 'schema: {SCHEMA}'")
    version = item.whole("schema", least=1)
    if version > SCHEMA:
        raise NewerSchema(
            f"{item.where}: schema {version} is newer than this joulemark reads (schema {SCHEMA}): upgrade joulemark"
        )


def _item(node: yaml.Node, name: str, above: tuple[int, ...]) -> Item:
    where = _place(node, name)
    if id(node) in above:
        raise BadInput(f"{where}: this value contains itself")
    inside = (*above, id(node))
    if isinstance(node, yaml.SequenceNode):
        return Item(tuple(_item(child, name, inside) for child in node.value), where)
    if isinstance(node, yaml.MappingNode):
        return _mapping(node, name, inside)
    assert isinstance(node, yaml.ScalarNode)
    return Item(_scalar(node), where)


def _mapping(node: yaml.MappingNode, name: str, inside: tuple[int, ...]) -> Item:
    items: dict[str, Item] = {}
    keys: dict[str, str] = {}
    for key_node, value_node in node.value:
        place = _place(key_node, name)
        if not isinstance(key_node, yaml.ScalarNode):
            raise BadInput(f"{place}: a key must be a word")
        key = str(key_node.value)
        if key in items:
            raise BadInput(f"{place}: the key {key!r} was already given at {keys[key]}")
        items[key] = _item(value_node, name, inside)
        keys[key] = place
    return Item(items, _place(node, name), keys)


def _scalar(node: yaml.ScalarNode) -> Plain:
    text = str(node.value)
    if node.style is not None:
        return text
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _place(node: yaml.Node, name: str) -> str:
    return f"{name}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"
