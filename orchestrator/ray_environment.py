"""Variables that Ray reads when it is first imported. Set them before importing ``ray_session``.

``python -m joulemark.orchestrator.ray_environment`` prints those that every node of a cluster is to be started with.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from joulemark.warehouse.errors import ClusterError

SETTINGS = {
    # Samplers and load clients are children of Ray workers, which Ray runs at nice 15 otherwise.
    "RAY_worker_niceness": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
}
OF_A_CLUSTER = {
    "RAY_AUTH_MODE": "token",
    # A node that is gone is noticed after about 15 s; by Ray's own settings after a minute, or never.
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_grpc_client_keepalive_time_ms": "10000",
    "RAY_grpc_client_keepalive_timeout_ms": "5000",
    # Nodes and drivers wait so long for a head that is started again.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "300",
}
"""What head, nodes and drivers must agree on, or what is safer than Ray's own."""
TOKEN_FILE = "~/.ray/auth_token"  # noqa: S105 -- where Ray keeps it


def prepare(address: str | None) -> None:
    """Set what is not set yet; a local Ray gets token authentication with a token of its own.

    Raises ClusterError where the token of a cluster is not there.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    if address is not None:
        for name, value in OF_A_CLUSTER.items():
            os.environ.setdefault(name, value)
        _check_token()
    elif "RAY_AUTH_MODE" not in os.environ:
        # In the environment only, so that nothing is written into the home folder.
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def _check_token() -> None:
    """Ray ends the process where it finds no token, with many lines."""
    if os.environ["RAY_AUTH_MODE"] != "token" or os.environ.get("RAY_AUTH_TOKEN"):
        return
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or TOKEN_FILE).expanduser()
    if not path.is_file() or not path.read_text().strip():
        raise ClusterError(
            f"the cluster's token is not in {path}: copy that file from the head node, or set RAY_AUTH_TOKEN; "
            "RAY_AUTH_MODE=disabled is for a cluster that asks for none"
        )


if __name__ == "__main__":
    for name, value in {**SETTINGS, **OF_A_CLUSTER}.items():
        print(f"export {name}={value}")
