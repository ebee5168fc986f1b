"""The script as the server reads it: 64-bit words, then the bytes that they point into. See script.c."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from answers import ENDS, Answer, Composed

MAGIC = 0x3154504952435331
VARIANTS = 4


@dataclass(frozen=True)
class Script:
    """Answers and which request gets which: request i, in the order in which they are read, gets ``order[i % n]``.

    With ``by_max_tokens`` the answer that is ``wanted`` for the request's ``max_tokens`` goes before. So many ``slots``
    requests are answered at a time, others wait for one (0: all at once). ``as_asked``: chunks tell their usage only to
    those who ask for ``continuous_usage_stats``, as engines do; else to all.
    """

    answers: Sequence[Answer]
    order: Sequence[int] = (0,)
    slots: int = 0
    by_max_tokens: bool = False
    as_asked: bool = False
    keep_bodies: bool = True
    model: str = "tiny"
    context_tokens: int = 32768

    def composed(self, answer: int, variant: int) -> Composed:
        """Return an answer as it is played in a variant: + 1 is chat, + 2 has no usage on its chunks."""
        one = self.answers[answer]
        if variant & 2 and one.counts == "usage":
            one = replace(one, counts="none")
        return one.composed("chat" if variant & 1 else "completions", self.model)

    def encoded(self) -> bytes:
        """Return the file's content."""
        blob = bytearray()
        places: dict[bytes, int] = {}

        def put(data: bytes) -> tuple[int, int]:
            if data not in places:
                places[data] = len(blob)
                blob.extend(data)
            return places[data], len(data)

        pages = {"/health": b"", "/v1/models": self._models()}
        words = [MAGIC, len(self.answers), len(self.order), len(pages), self.slots]
        words += [self.by_max_tokens, self.keep_bodies, self.as_asked]
        words += [a.wanted for a in self.answers]
        words += self.order
        for path, body in pages.items():
            words += [*put(path.encode()), *put(_page(body))]
        for answer in range(len(self.answers)):
            for variant in range(VARIANTS):
                composed = self.composed(answer, variant)
                words += [ENDS.index(composed.ends), len(composed.writes)]
                for write in composed.writes:
                    words += [write.delay_ns, *put(write.data)]
        return np.array(words, dtype=np.int64).tobytes() + bytes(blob)

    def _models(self) -> bytes:
        model = {"id": self.model, "object": "model", "owned_by": "script", "max_model_len": self.context_tokens}
        return json.dumps({"object": "list", "data": [model]}).encode()


def _page(body: bytes) -> bytes:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
