"""What the load client sends: prompts as token ids, and when each stream starts."""

from __future__ import annotations

import numpy as np

from joulemark.warehouse.errors import BadInput

FIRST_ORDINARY_ID = 3
"""Token ids below this one are special in the generated models, and in most others."""


def prompt_ids(
    workload_seed: int,
    trial_seed: int,
    request_index: int,
    length: int,
    vocab_size: int,
    first_id: int = FIRST_ORDINARY_ID,
) -> list[int]:
    """Return ``length`` token ids, uniform in ``[first_id, vocab_size)``, to be sent as a token-id prompt.

    The same arguments give the same prompt on every machine; any other seed or request gives an unrelated one, so that
    no two prompts share a prefix that an engine could have cached. Philox is a counter-based generator (Salmon et
    al., SC 2011), so that request 10,000 costs no more than request 0. Raises BadInput where there is no id to draw.
    """
    if vocab_size <= first_id:
        raise BadInput(f"a vocabulary of {vocab_size} tokens has none from id {first_id} on")
    key = np.array([workload_seed & _WORD, trial_seed & _WORD], dtype=np.uint64)
    counter = np.array([0, 0, 0, request_index], dtype=np.uint64)
    generator = np.random.Generator(np.random.Philox(counter=counter, key=key))
    ids: list[int] = generator.integers(first_id, vocab_size, size=length, dtype=np.int64).tolist()
    return ids


def stagger_offsets(concurrency: int, spread_s: float) -> list[float]:
    """Return the seconds after which each of ``concurrency`` streams sends its first request.

    They lie evenly over ``spread_s``, so that requests of equal length do not march in step.
    """
    return [spread_s * stream / concurrency for stream in range(concurrency)]


_WORD = (1 << 64) - 1
