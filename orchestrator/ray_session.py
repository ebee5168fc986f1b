"""A Ray session and the nodes in it. Only this file and ``ray_agents`` import Ray.

Ray reads its settings when it is imported: call ``ray_environment.prepare`` before importing this module.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import ray
from ray.exceptions import RayError

from joulemark.orchestrator.inventory import Node
from joulemark.warehouse.errors import ClusterError

NAMESPACE = "joulemark"
LABEL_ACCELERATOR = "ray.io/accelerator-type"


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
    except (OSError, RuntimeError, ValueError, RayError) as error:
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
    """Return the living nodes, sorted by name; nodes that share a host name get part of their id behind it."""
    alive = [n for n in ray.nodes() if n["Alive"]]
    names = [n["NodeManagerHostname"] for n in alive]
    return sorted(
        (
            Node(
                node=name if names.count(name) == 1 else f"{name}-{n['NodeID'][:6]}",
                ray_id=n["NodeID"],
                gpus=int(n["Resources"].get("GPU", 0)),
                accelerator=n.get("Labels", {}).get(LABEL_ACCELERATOR),
            )
            for n, name in zip(alive, names, strict=True)
        ),
        key=lambda n: n.node,
    )
