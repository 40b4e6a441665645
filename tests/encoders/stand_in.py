"""A stand-in of the Hugging Face Hub on this machine: enough of it for what huggingface_hub asks, for downloads, and
refusals.

`127.0.0.1` is the Hub, which knows commits, digests and who may have what; `localhost` is the network from which it
lets large files be fetched, which gets no token.
"""

import hashlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

FIRST, SECOND = "1" * 40, "2" * 40  # commits


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    host: str
    path: str
    token: str | None
    range: str | None


@dataclass
class Hub:
    """What the server holds, how it misbehaves, and what it was asked.

    Attributes:
        files: Content by commit and name; of one repository.
        main: The commit that the branch is at.
        gated: Whether it wants a login of one of `granted`.
        known: Tokens that are somebody's; another is refused as such.
        sent: What comes in place of a large file's content.
        small_sent: What comes in place of a small file's.
        claimed: The size that it says a large file has.
        cuts: Bytes after which a connection is cut, one a request.
        stalls: Bytes after which content stops coming, for as long as `goes_on` is not set.
        status: What it answers to everything, if anything.
    """

    repo: str = "owner/name"
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    main: str = FIRST
    gated: bool = False
    known: tuple[str, ...] = ("hf_granted", "hf_waiting")
    granted: tuple[str, ...] = ("hf_granted",)
    sent: bytes | None = None
    small_sent: bytes | None = None
    claimed: int | None = None
    cuts: list[int] = field(default_factory=list)
    stalls: int | None = None
    goes_on: threading.Event = field(default_factory=threading.Event)
    status: int = 0
    portal: bool = False
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def transfers(self) -> list[Asked]:
        """The requests for content of large files."""
        return [one for one in self.asked if one.method == "GET" and one.host == "localhost"]


@contextmanager
def served(hub: Hub) -> Iterator[Hub]:
    """The hub behind a port of this machine, for as long as the block lasts."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": hub}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    hub.port = server.server_port
    yield hub
    server.shutdown()
    server.server_close()
    thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        host = self.headers.get("Host", "").split(":")[0]
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        asked = Asked(self.command, host, self.path, token, self.headers.get("Range"))
        if self.path.startswith("/api/"):
            return self._say(404, b"{}")  # what the library asks beside the point
        self.hub.asked.append(asked)
        if self.path.startswith("/content/"):
            return self._content(bytes.fromhex(self.path.rpartition("/")[2]))
        if self.hub.portal:
            return self._say(200, b"<html>Welcome to this hotel</html>")
        if self.hub.status:
            return self._say(self.hub.status, b"")
        self._resolve(token)

    def _resolve(self, token: str | None) -> None:
        hub = self.hub
        found = re.fullmatch(r"/(.+)/resolve/([^/]+)/(.+)", self.path)
        if token is not None and token not in hub.known:
            return self._say(401, b"", X_Error_Message="Invalid credentials in Authorization header")
        if found is None or found[1] != hub.repo:
            return self._say(404 if token else 401, b"", X_Error_Code="RepoNotFound")
        if hub.gated and token not in hub.granted:
            return self._say(403 if token else 401, b"", X_Error_Code="GatedRepo")
        commit = hub.main if found[2] == "main" else found[2]
        if commit not in hub.files:
            return self._say(404, b"", X_Error_Code="RevisionNotFound")
        if found[3] not in hub.files[commit]:
            return self._say(404, b"", X_Error_Code="EntryNotFound", X_Repo_Commit=commit)
        self._file(commit, hub.files[commit][found[3]], small=found[3].endswith(".json"))

    def _file(self, commit: str, content: bytes, *, small: bool) -> None:
        if small:
            etag = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()  # as git has it
            content = content if self.hub.small_sent is None else self.hub.small_sent
            return self._say(200, content, X_Repo_Commit=commit, ETag=f'"{etag}"')
        digest = hashlib.sha256(content).hexdigest()
        size = len(content) if self.hub.claimed is None else self.hub.claimed
        where = f"http://localhost:{self.hub.port}/content/{digest}"
        linked: dict[str, Any] = {"X_Linked_Etag": f'"{digest}"', "X_Linked_Size": str(size)}
        self._say(302, b"", X_Repo_Commit=commit, Location=where, **linked)

    def _content(self, digest: bytes) -> None:
        held = [one for files in self.hub.files.values() for one in files.values()]
        content = next(one for one in held if hashlib.sha256(one).digest() == digest)
        content = content if self.hub.sent is None else self.hub.sent
        start = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        begin, more = (int(start[1]) if start else 0), {}
        if begin >= len(content):
            return self._say(416, b"")  # some of the networks say no more than that
        if start:
            more = {"Content_Range": f"bytes {begin}-{len(content) - 1}/{len(content)}"}
        self._say(206 if start else 200, content[begin:], length=self.hub.claimed, **more)

    def _say(self, status: int, body: bytes, *, length: int | None = None, **headers: Any) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        if self.command == "GET":
            self._send(body)

    def _send(self, body: bytes) -> None:
        large = self.path.startswith("/content/")
        cut = self.hub.cuts.pop(0) if self.hub.cuts and large else len(body)
        if self.hub.stalls is not None and large:
            self.wfile.write(body[: self.hub.stalls])
            self.wfile.flush()
            self.hub.goes_on.wait()
            body = body[self.hub.stalls :]
        with suppress(ConnectionError):  # who asked may have been killed
            self.wfile.write(body[:cut])

    def log_message(self, format: str, *args: object) -> None:
        pass
