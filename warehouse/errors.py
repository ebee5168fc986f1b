"""The one tree of user errors.

Each is shown as one line on stderr, without a traceback, and ends the
command with its ``exit_code``. Anything else that reaches the top is a bug.

::

    JoulemarkError                 exit 2
    +-- BadInput                   a file, key or value that the user wrote
    |   +-- UnknownModel
    +-- MissingTool                something to install or to permit
    +-- MeterError                 a sensor that cannot be read
    +-- EngineError                an engine that did not start or died (has a failure class)
    +-- WarehouseError             a store that cannot be read or written
    |   +-- NewerSchema            written by a newer joulemark
    |   +-- DiskFull
    |   +-- Vanished             files were put together while they were read: look again
    +-- QueryError                 SQL that DuckDB refuses
    +-- ClusterError               Ray cannot be reached, or a node is gone
    |   +-- NodeLost               a node or its agent is gone in mid-work: the work can be done elsewhere
    +-- ThresholdMissed            exit 3: `check` or `compare` found less than asked
"""

from __future__ import annotations


class JoulemarkError(Exception):
    """Base of all errors that a user can do something about."""

    exit_code = 2


class BadInput(JoulemarkError):
    """A sweep file, site file, option or argument is wrong."""


class UnknownModel(BadInput):
    """A model name that is neither in the catalogue nor a readable folder."""


class MissingTool(JoulemarkError):
    """Something that must be installed or permitted first."""


class MeterError(JoulemarkError):
    """A meter that should be there cannot be read."""


class EngineError(JoulemarkError):
    """An engine did not start, or ended by itself.

    ``failure_class`` is one of ``warehouse.schema.reasons.FAILURE_CLASSES``, ``log`` the last lines that it wrote.
    """

    def __init__(self, message: str, failure_class: str, log: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.failure_class = failure_class
        self.log = log

    def __reduce__(self) -> tuple[type[EngineError], tuple[str, str, tuple[str, ...]]]:
        """Keep all arguments when Ray carries the error to the driver."""
        return type(self), (str(self), self.failure_class, self.log)


class WarehouseError(JoulemarkError):
    """The warehouse cannot be read or written."""


class NewerSchema(WarehouseError):
    """A file was written by a newer joulemark than this one."""


class DiskFull(WarehouseError):
    """No space is left where records must go."""


class Vanished(WarehouseError):
    """A file that was there is gone: its records lie elsewhere by now."""


class QueryError(JoulemarkError):
    """SQL that cannot be parsed or run."""


class ClusterError(JoulemarkError):
    """The Ray cluster, or a node of it, cannot be reached."""


class NodeLost(ClusterError):
    """A node, or the agent on it, was lost while it worked."""


class ThresholdMissed(JoulemarkError):
    """A check ran and found less than was asked for."""

    exit_code = 3
