"""Where a server answers, from its URL; and the head of a request to it. Pure."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from joulemark.warehouse.errors import BadInput

PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """``prefix`` is the path that ``/v1/...`` is put after: empty, or with a slash at its begin and none at its end."""

    host: str
    port: int
    tls: bool
    prefix: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Read ``http[s]://host[:port][/prefix][/v1]``; IPv6 hosts stand in brackets.

        Raises BadInput for anything else.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise BadInput(f"not a URL: {url!r}: {error}") from None
        if parts.scheme not in PORTS or not parts.hostname:
            raise BadInput(f"not a server's URL: {url!r}: write http://host:port or https://host:port")
        if parts.query or parts.fragment or parts.username is not None or not _printable(parts):
            raise BadInput(f"not a server's URL: {url!r}: only scheme, host, port and path are allowed in it")
        prefix = parts.path.rstrip("/").removesuffix("/v1")
        return cls(parts.hostname, port or PORTS[parts.scheme], parts.scheme == "https", prefix)

    def context(self) -> ssl.SSLContext | None:
        """Return the checks of certificates for https: the system's, or those of ``SSL_CERT_FILE``."""
        return ssl.create_default_context() if self.tls else None

    def head(self, path: str, headers: dict[str, str]) -> bytes:
        """Return the head of a POST to ``path`` up to where the length of its body is to be written."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        default = self.port == PORTS["https" if self.tls else "http"]
        lines = [f"POST {self.prefix}{path} HTTP/1.1", f"Host: {host}" + ("" if default else f":{self.port}")]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if any("\r" in line or "\n" in line for line in lines):
            raise BadInput("a header would not be one line: is there a line break in the API key?")
        return ("\r\n".join(lines) + "\r\nContent-Length: ").encode("latin-1")


def _printable(parts: SplitResult) -> bool:
    return all(0x20 < ord(c) < 0x7F for c in parts.netloc + parts.path)
