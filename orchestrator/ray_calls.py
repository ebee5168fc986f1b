"""Calls to Ray actors that outlast a network that is cut for some seconds, and errors as users should see them."""

from __future__ import annotations

import errno
import re
import threading
import time
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError, RayError, RayTaskError

from joulemark.warehouse.errors import ClusterError, DiskFull, JoulemarkError, NodeLost

ANSWER_S = 10.0
AGAIN_S = 0.5


class Calls:
    """Calls to one actor, ``who``; without any answer for ``lost_s`` seconds it is lost.

    Only what can be done twice without harm may be called so: a call whose answer was lost is made again.
    """

    def __init__(self, who: str, lost_s: float) -> None:
        self.who, self.lost_s = who, lost_s

    def patient(
        self,
        method: Any,
        *arguments: Any,
        give_up: Callable[[], NodeLost | None] = lambda: None,
        closed: threading.Event | None = None,
        wait_s: float | None = None,
    ) -> Any:
        """Return the answer. Raises NodeLost, what ``give_up`` returns, or the user error that the actor raised."""
        begun, lost_s = time.monotonic(), self.lost_s if wait_s is None else wait_s
        while True:
            try:
                return ray.get(method.remote(*arguments), timeout=ANSWER_S)
            except RayTaskError as error:
                raise user_error(self.who, error) from error
            except (ActorUnavailableError, GetTimeoutError) as error:
                trouble: RayError = error
            except RayActorError as error:
                raise user_error(self.who, error) from error
            except RayError as error:
                raise NodeLost(f"{self.who} was lost: {_first_line(error)}") from error
            elsewhere = give_up()
            if elsewhere is not None:
                raise elsewhere
            if time.monotonic() - begun > lost_s or (closed is not None and closed.is_set()):
                raise NodeLost(f"{self.who} was lost: no answer for {lost_s:.0f} s") from trouble
            time.sleep(AGAIN_S)

    @staticmethod
    def once(call: Callable[[], Any]) -> Any:
        """Return what a call gives, None where it gives nothing in time or there is nobody to ask."""
        try:
            return call()
        except (RayError, ValueError):
            return None


def user_error(who: str, error: RayActorError | RayTaskError) -> Exception:
    """Return what went wrong with ``who`` as users should see it; a RuntimeError where it is a fault of ours."""
    # An actor that fails while it is made leaves that error as the first argument.
    failed = next((e for e in (error, *error.args) if isinstance(e, RayTaskError)), None)
    cause: object = failed.cause if failed is not None else None
    if isinstance(cause, JoulemarkError):
        return cause
    if isinstance(cause, OSError):
        if cause.errno in (errno.ENOSPC, errno.EDQUOT):
            where = cause.filename or "what lies below JOULEMARK_HOME"
            return DiskFull(f"no space left for {who} to write {where}; free some and run the same command again")
        return ClusterError(f"{who}: {cause.filename or 'a file'}: {cause.strerror or cause}")
    if failed is error:
        return RuntimeError(f"{who}: {failed.traceback_str}")
    return NodeLost(f"{who} was lost: {_first_line(error)}")


def _first_line(error: Exception) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", str(error))
    return next((line.strip().rstrip(".") for line in text.splitlines() if line.strip()), type(error).__name__)
