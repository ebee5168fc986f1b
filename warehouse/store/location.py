"""A warehouse by path or URL, and whole-or-not-at-all writes into it."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import fs

from joulemark.warehouse.errors import DiskFull, WarehouseError

_PLACES = "give a folder, or a file:// or s3:// URL"


@dataclass(frozen=True)
class Entry:
    """One file as a listing shows it: what tells that it is still the same. ``name`` is relative to the warehouse."""

    name: str
    size: int
    mtime_ns: int


@dataclass(frozen=True)
class Warehouse:
    """A folder or an object-store prefix that holds records.

    ``filesystem`` is pyarrow's, ``root`` the path below it without a trailing slash.
    """

    url: str
    filesystem: fs.FileSystem
    root: str

    @classmethod
    def at(cls, place: str | Path) -> Warehouse:
        """Open the warehouse at a path or a URL (``file://``, ``s3://``); it need not exist yet.

        Raises WarehouseError where no filesystem answers to the URL, or where a file lies at the path.
        """
        text = str(place)
        try:
            if "://" in text:
                filesystem, root = fs.FileSystem.from_uri(text)
                found = cls(text, filesystem, root.rstrip("/"))
            else:
                found = cls(text, fs.LocalFileSystem(), os.path.abspath(text) if text else "")
        except (OSError, pa.ArrowInvalid) as error:
            raise WarehouseError(f"warehouse {text}: {error}; {_PLACES}") from error
        if not found.root:
            raise WarehouseError(f"warehouse {text!r} names no place; {_PLACES}")
        if found.local and os.path.isfile(found.root):
            raise WarehouseError(f"warehouse {text} is a file; {_PLACES}")
        return found

    @property
    def local(self) -> bool:
        """Whether the records lie in a local folder."""
        return isinstance(self.filesystem, fs.LocalFileSystem)

    def path(self, name: str) -> str:
        """Return the filesystem path of ``name``, which is relative to the warehouse."""
        return f"{self.root}/{name}"

    def exists(self, name: str = "") -> bool:
        """Return whether ``name`` (default: the warehouse itself) is there. Raises WarehouseError."""
        path = self.path(name).rstrip("/")
        try:
            info = self.filesystem.get_file_info(path)
        except OSError as error:
            raise WarehouseError(f"{path}: {error}") from error
        return bool(info.type != fs.FileType.NotFound)

    def entries(self, folder: str, suffix: str = "") -> list[Entry]:
        """Return the files below ``folder``, by name; what begins with a dot is being written, and left out."""
        if self.local:
            found = list(_scan(self.path(folder), folder, suffix))
        else:
            selector = fs.FileSelector(self.path(folder), allow_not_found=True, recursive=True)
            infos = (i for i in self.filesystem.get_file_info(selector) if i.type == fs.FileType.File)
            start = len(self.root) + 1
            every = (Entry(i.path[i.path.index(self.root) + start :], i.size, i.mtime_ns or 0) for i in infos)
            found = [e for e in every if e.name.endswith(suffix) and not os.path.basename(e.name).startswith(".")]
        return sorted(found, key=lambda e: e.name)

    def list(self, folder: str, suffix: str = "") -> list[str]:
        """Return the files below ``folder``, sorted, as names relative to the warehouse."""
        return [e.name for e in self.entries(folder, suffix)]

    def delete(self, name: str) -> None:
        """Delete one file; one that is not there is no error. Raises WarehouseError."""
        path = self.path(name)
        try:
            if self.local:
                Path(path).unlink(missing_ok=True)
            else:
                self.filesystem.delete_file(path)
        except FileNotFoundError:
            return
        except OSError as error:
            raise WarehouseError(f"cannot delete {path}: {error}") from error

    def read(self, name: str) -> bytes:
        """Return the content of one file. Raises WarehouseError where it cannot be read."""
        try:
            with self.filesystem.open_input_stream(self.path(name)) as stream:
                return bytes(stream.read())
        except OSError as error:
            raise WarehouseError(f"{self.path(name)}: {error}") from error

    @contextmanager
    def writing(self, name: str) -> Iterator[pa.NativeFile]:
        """Yield a stream whose bytes appear under ``name`` when the block ends well, and nowhere if not.

        Raises DiskFull or WarehouseError.
        """
        path = self.path(name)
        folder, _, base = path.rpartition("/")
        with _named_errors(path):
            if not self.local:
                # A stream to an object store puts there what it has when it is closed, also where the block failed.
                sink = pa.BufferOutputStream()
                yield sink
                if not isinstance(self.filesystem, fs.S3FileSystem):
                    self.filesystem.create_dir(folder, recursive=True)
                with self.filesystem.open_output_stream(path) as stream:
                    stream.write(sink.getvalue())
                return
            os.makedirs(folder, exist_ok=True)
            target = f"{folder}/.{base}.{uuid.uuid4().hex[:8]}"
            try:
                with self.filesystem.open_output_stream(target) as stream:
                    yield stream
                _fsync(target)
                os.replace(target, path)
            except BaseException:
                if os.path.exists(target):
                    os.unlink(target)
                raise

    def write(self, name: str, content: bytes) -> None:
        """Write a whole file, replacing what was there. Raises DiskFull or WarehouseError."""
        with self.writing(name) as stream:
            stream.write(content)

    def create(self, name: str, content: bytes) -> bool:
        """Write a whole file only if none is there; return whether it was written.

        In a folder this is atomic between processes. In an object store, of two that write within the same moment
        the later stays, and the other learns of it if that was before it looked again.
        """
        if not self.local:
            if self.exists(name):
                return False
            self.write(name, content)
            return self.read(name) == content
        path = self.path(name)
        folder, _, base = path.rpartition("/")
        target = f"{folder}/.{base}.{uuid.uuid4().hex[:8]}"
        with _named_errors(path):
            os.makedirs(folder, exist_ok=True)
            try:
                Path(target).write_bytes(content)
                _fsync(target)
                os.link(target, path)
            except FileExistsError:
                return False
            finally:
                Path(target).unlink(missing_ok=True)
        return True


def _scan(path: str, name: str, suffix: str) -> Iterator[Entry]:
    """Yield the files below a local folder; one that goes away meanwhile was not there."""
    folders = []
    try:
        with os.scandir(path) as found:
            for entry in found:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(entry.name)
                else:
                    whole = f"{name}/{entry.name}" if name else entry.name
                    if whole.endswith(suffix):
                        facts = entry.stat()
                        yield Entry(whole, facts.st_size, facts.st_mtime_ns)
    except FileNotFoundError:
        return
    for folder in folders:
        yield from _scan(f"{path}/{folder}", f"{name}/{folder}" if name else folder, suffix)


@contextmanager
def _named_errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFull(f"no space left to write {path}; free some and run the same command again") from error
        # pyarrow puts a sentence of its own, path and all, where the system's few words belong.
        why = os.strerror(error.errno) if error.errno else error
        raise WarehouseError(f"cannot write {path}: {why}") from error


def _fsync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
