"""The files that workloads name: read once, known by their content from then on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from joulemark.warehouse.errors import BadInput
from joulemark.workloads.sweep.workload_model import FileAsk
from joulemark.workloads.traffic.tables import Tables, digest_of, read_table
from joulemark.workloads.traffic.text import load_tokenizer


class Files:
    """The files of one sweep, whose relative paths start at ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._digests: dict[Path, str] = {}
        self._data: dict[str, bytes] = {}
        self._tables: dict[str, Any] = {}
        self._tokenizers: set[str] = set()

    @property
    def tables(self) -> Tables:
        """All that were read."""
        return Tables(self._data)

    def digest(self, ask: FileAsk) -> str:
        """Return the name of the file's content. Raises BadInput with its place where it cannot be read."""
        path = Path(ask.path).expanduser()
        path = path if path.is_absolute() else self._folder / path
        if path not in self._digests:
            try:
                data = path.read_bytes()
            except OSError as error:
                raise BadInput(f"{ask.where}: the file {ask.path} cannot be read: {error.strerror}") from None
            self._digests[path] = digest_of(data)
            self._data[self._digests[path]] = data
        return self._digests[path]

    def content(self, ask: FileAsk) -> bytes:
        """Return its bytes, unpacked."""
        digest = self.digest(ask)
        with self.blamed(ask):
            return self.tables.content(digest)

    def table(self, ask: FileAsk) -> Any:
        """Return its table."""
        digest = self.digest(ask)
        if digest not in self._tables:
            with self.blamed(ask):
                self._tables[digest] = read_table(self.content(ask))
        return self._tables[digest]

    def tokenizer(self, ask: FileAsk) -> str:
        """Return the name of a tokenizer's content, that loads."""
        digest = self.digest(ask)
        if digest not in self._tokenizers:
            with self.blamed(ask):
                load_tokenizer(self.content(ask))
            self._tokenizers.add(digest)
        return digest

    @contextmanager
    def blamed(self, ask: FileAsk) -> Iterator[None]:
        """Say of what goes wrong inside that it is this file's, with its place."""
        try:
            yield
        except BadInput as error:
            start = "" if str(error).startswith(ask.where) else f"{ask.where}: {ask.path}: "
            raise BadInput(f"{start}{error}") from None
