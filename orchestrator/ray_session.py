"""A Ray session and the nodes in it. Only this file and the other ``ray_`` files import Ray.

Ray reads its settings when it is imported: call ``ray_environment.prepare`` before importing this module.
"""

from __future__ import annotations

import logging
import signal
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError

from joulemark.orchestrator.inventory import Node
from joulemark.warehouse.errors import ClusterError

NAMESPACE = "joulemark"
LABEL_ACCELERATOR = "ray.io/accelerator-type"
LABEL_NODE = "joulemark.io/node"
LISTENS_S = 1.0


@contextmanager
def session(address: str | None) -> Iterator[None]:
    """Connect to the cluster at ``address``, or start a local Ray for as long as the block lasts.

    Raises ClusterError where the cluster does not answer. SIGTERM raises KeyboardInterrupt from here on.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        ray.init(
            address=address or "local",
            namespace=NAMESPACE,
            include_dashboard=False if address is None else None,
            configure_logging=True,
            logging_level=logging.ERROR,
            log_to_driver=False,
        )
    except Exception as error:
        # Ray raises no more than that where one of its processes does not start.
        where = f"reach the cluster at {address}" if address else "start a local Ray"
        raise ClusterError(f"cannot {where}: {str(error).strip().splitlines()[0]}") from error
    except SystemExit as error:
        # Ray's own answer to SIGTERM while it starts.
        raise KeyboardInterrupt from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        ray.shutdown()


def nodes() -> list[Node]:
    """Return the living nodes, sorted by name. Raises ClusterError where the head does not answer.

    A node is called as its label ``joulemark.io/node`` says, or as its host; its name stays the same when its raylet
    comes back. Several on one host get part of their id behind it.
    """
    try:
        listed = [n for n in ray.nodes() if n["Alive"]]
    except (RayError, RuntimeError) as error:
        raise ClusterError(f"the cluster's head does not answer: {str(error).strip().splitlines()[0]}") from error
    alive = [(n, _name(n)) for n in listed]
    counts = Counter(name for _, name in alive)
    # One that has just died is still listed beside the one that took its place.
    alive = [(n, name) for n, name in alive if counts[name] == 1 or _listens(n)]
    counts = Counter(name for _, name in alive)
    return sorted(
        (
            Node(
                node=name if counts[name] == 1 else f"{name}-{n['NodeID'][:6]}",
                ray_id=n["NodeID"],
                gpus=int(n["Resources"].get("GPU", 0)),
                accelerator=n.get("Labels", {}).get(LABEL_ACCELERATOR),
                takes_work=any(n["Resources"].get(r, 0) > 0 for r in ("CPU", "GPU")),
                address=n["NodeManagerAddress"],
            )
            for n, name in alive
        ),
        key=lambda n: n.node,
    )


def labels() -> dict[str, dict[str, str]]:
    """Return the labels of the nodes by their Ray id."""
    return {n["NodeID"]: dict(n.get("Labels", {})) for n in ray.nodes()}


def _name(node: dict[str, Any]) -> str:
    return str(node.get("Labels", {}).get(LABEL_NODE) or node["NodeManagerHostname"])


def _listens(node: dict[str, Any]) -> bool:
    try:
        with socket.create_connection((node["NodeManagerAddress"], node["NodeManagerPort"]), LISTENS_S):
            return True
    except OSError:
        return False
