"""Which files of records count: a pack counts instead of the files that it took in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

REPLACES_KEY = b"joulemark.replaces"


def replaced_names(metadata: Mapping[bytes, bytes] | None) -> tuple[str, ...]:
    """Return the names that a pack's footer says it took in; none for any other file."""
    text = (metadata or {}).get(REPLACES_KEY)
    return tuple(msgspec.json.decode(text, type=list[str])) if text else ()


def counting(names: Iterable[str], replaces: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the names without those that a pack took in, and without packs whose content is in a larger one."""
    gone: set[str] = set()
    for pack in sorted(replaces, key=lambda n: (-len(replaces[n]), n)):
        if pack in gone or gone.issuperset(replaces[pack]):
            gone.add(pack)
        else:
            gone.update(replaces[pack])
    return [n for n in names if n not in gone]
