"""Variables that Ray reads when it is first imported. Set them before importing ``ray_session``."""

from __future__ import annotations

import os
import secrets

SETTINGS = {
    # Samplers and load clients are children of Ray workers, which Ray runs at nice 15 otherwise.
    "RAY_worker_niceness": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def prepare(address: str | None) -> None:
    """Set what is not set yet; a local Ray gets token authentication with a token of its own."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if address is None and "RAY_AUTH_MODE" not in os.environ:
        # In the environment only, so that nothing is written into the home folder.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
