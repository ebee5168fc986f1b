"""Units: the only place where a factor between two of them is written."""

from __future__ import annotations

import re

MS_PER_S = 1_000
US_PER_S = 1_000_000
NS_PER_US = 1_000
UJ_PER_J = 1_000_000
MW_PER_W = 1_000
J_PER_KWH = 3_600_000
S_PER_H = 3_600
BYTES_PER_GIB = 1 << 30

_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|min|h)?\s*")
_SECONDS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, None: 1.0}


def seconds(text: str | float) -> float:
    """Return the seconds in ``text``: ``30``, ``"30s"``, ``"60ms"``, ``"2m"``, ``"1h"``.

    Raises ValueError where it is none of these.
    """
    if isinstance(text, bool):
        raise ValueError(f"{text!r} is not a duration; write for example 30s, 60ms or 2m")
    if isinstance(text, int | float):
        if text < 0:
            raise ValueError(f"{text!r} is not a duration: it is negative")
        return float(text)
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write for example 30s, 60ms or 2m")
    return float(match[1]) * _SECONDS[match[2]]
