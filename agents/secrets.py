"""Secrets stay out of everything that is written: manifests, logs, traces and messages.

What is secret is told by the names of variables (``HF_TOKEN``, ``OPENAI_API_KEY``, ...), by the hub's own token file,
and by the form of well-known tokens. An engine may print what it was given, so its output is gone over too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHORTEST = 6
"""A shorter value is no secret, and to strike it out would strike out half of every text."""
_WORDS = re.compile(r"(^|_)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(_|$)")
_FORMS = re.compile(
    r"\bhf_[A-Za-z0-9]{20,}|\bsk-[A-Za-z0-9_-]{20,}|\bgh[pousr]_[A-Za-z0-9]{20,}|(?<=Bearer )[A-Za-z0-9._~+/=-]{8,}"
)
_MARK = "(hidden)"


def is_secret(name: str) -> bool:
    """Return whether a variable of this name holds a secret."""
    return bool(_WORDS.search(name.upper().replace("-", "_")))


@dataclass(frozen=True)
class Secrets:
    """The values that must not be written, the longest first."""

    values: tuple[str, ...] = ()

    @classmethod
    def here(cls, *more: str | None, environment: Mapping[str, str] | None = None) -> Secrets:
        """Return those of this process's environment and of the hub's token file, and ``more`` of them."""
        variables = os.environ if environment is None else environment
        found = {value for name, value in variables.items() if is_secret(name)}
        found |= {_hub_token(variables), *(value for value in more if value)}
        return cls(tuple(sorted((v for v in found if len(v) >= SHORTEST), key=lambda v: (-len(v), v))))

    def hide(self, text: str) -> str:
        """Return ``text`` without them."""
        for value in self.values:
            text = text.replace(value, _MARK)
        return _FORMS.sub(_MARK, text)

    def hide_in(self, value: Any) -> Any:
        """Return a document (mappings, lists, texts) without them; what a secret name holds goes whatever it is."""
        if isinstance(value, str):
            return self.hide(value)
        if isinstance(value, Mapping):
            return {k: _MARK if isinstance(v, str) and is_secret(str(k)) else self.hide_in(v) for k, v in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.hide_in(v) for v in value)
        return value


def _hub_token(variables: Mapping[str, str]) -> str:
    """Return what ``hf auth login`` left on this node; an empty text where nobody logged in."""
    cache = variables.get("XDG_CACHE_HOME") or "~/.cache"
    home = variables.get("HF_HOME") or f"{cache}/huggingface"
    try:
        return Path(variables.get("HF_TOKEN_PATH") or f"{home}/token").expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""
