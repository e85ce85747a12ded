"""A model hub on this machine, which answers as Hugging Face's does and fails as it is asked to."""

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".onnx", ".safetensors", ".bin")


@dataclass
class Hub:
    """What a hub has, how it fails, and what it was asked for.

    Attributes:
        files: of each repository, by name; its only commit is COMMIT.
        status: the answer for a repository instead of its files, as (number, error code).
        broken: files whose next download ends in the middle.
        lies: files whose bytes are not those that the hub states.
        token: who has it may read everything; None if nobody needs one.
        requests: (method, path, Range) of each.
    """

    files: dict[str, dict[str, bytes]]
    status: dict[str, tuple[int, str]] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    lies: set[str] = field(default_factory=set)
    token: str | None = None
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)


def digests(name, content):
    if name.endswith(LARGE):
        return {"lfs": {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}}
    return {}


def etag(name, content):
    if name.endswith(LARGE):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = unquote(urlsplit(self.path).path).strip("/")
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        described = path.startswith("api/models/")
        organization, name, *rest = path.removeprefix("api/models/").split("/")
        repository = f"{organization}/{name}"
        if repository not in self.hub.files:
            return self.fail(404, "RepoNotFound")
        if self.hub.token and self.headers.get("Authorization") != f"Bearer {self.hub.token}":
            return self.fail(*self.hub.status.get(repository, (401, "GatedRepo")))
        if repository in self.hub.status and not self.hub.token:
            return self.fail(*self.hub.status[repository])
        if rest[1] not in ("main", COMMIT):
            return self.fail(404, "RevisionNotFound")
        if described:
            return self.describe(repository)
        return self.give("/".join(rest[2:]), self.hub.files[repository])

    def fail(self, status, code):
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def describe(self, repository):
        siblings = [
            {"rfilename": name, "size": len(content), "blobId": etag("", content), **digests(name, content)}
            for name, content in self.hub.files[repository].items()
        ]
        body = json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings, "tags": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def give(self, name, files):
        content = files[name]
        self.send_response(206 if self.headers.get("Range") else 200)
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_header("ETag", f'"{etag(name, content)}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if self.command == "HEAD":
            return
        body = bytes(len(content) - start) if name in self.hub.lies else content[start:]
        if name in self.hub.broken:
            self.hub.broken.discard(name)
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)


@contextmanager
def serving(hub):
    """The URL of a hub, while the block runs."""
    handler = type("HubHandler", (Handler,), {"hub": hub})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
