"""An S3 server as a process of its own: moto's, which fails as many requests, in such ways, as it is asked to.

python -m tests.s3 FRACTION      serves on a free port of 127.0.0.1, which it prints
"""

import contextlib
import json
import random
import socket
import subprocess
import sys
import time
import urllib.request
import uuid
from pathlib import Path

ROOT = Path(__file__).parent.parent
ACCESS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
CONTROL = "/-/faults"
"""Put here, as JSON, what the server is to do: the arguments of `Faults`."""

REFUSALS = {
    "refused": ("503 Slow Down", "ServiceUnavailable", "Please try again.", {}),
    "throttled": ("503 Slow Down", "SlowDown", "Please reduce your request rate.", {}),
    "asked to wait": ("503 Slow Down", "SlowDown", "Please reduce your request rate.", {"Retry-After": "1"}),
    "internal": ("500 Internal Server Error", "InternalError", "We encountered an internal error.", {}),
    "expired": ("400 Bad Request", "ExpiredToken", "The provided token has expired.", {}),
    "forbidden": ("403 Forbidden", "ExpiredToken", "The provided token has expired.", {}),
}
"""Status line, code, message and headers of an answer that replaces the right one."""

ANY = ("refused", "internal", "lost", "cut")


class Faults:
    """Which requests fail, and how.

    Args:
        fraction: of the requests that fail.
        kinds: of faults, drawn from by chance: those of REFUSALS; `lost`, no answer after the work was done; `cut`, half
            of one; `slow`, a late one; `tagged`, one with another ETag; `careless`, of a server that knows no If-None-Match.
        after: requests that are answered first.
    """

    def __init__(self, fraction=0.0, kinds=ANY, after=0):
        self.fraction, self.kinds, self.after = fraction, kinds, after
        self.luck = random.Random(0)

    def draw(self):
        self.after -= 1
        return self.luck.choice(self.kinds) if self.after < 0 and self.luck.random() < self.fraction else None


def failing(application, faults):
    """Some requests are refused, some answers are lost after the work was done, some end in the middle."""

    def respond(environ, start_response):
        nonlocal faults
        if environ["PATH_INFO"] == CONTROL:
            faults = Faults(**json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))))
            start_response("204 No Content", [])
            return []
        kind = faults.draw()
        if kind in REFUSALS:
            status, code, message, headers = REFUSALS[kind]
            body = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>".encode()
            body = b"" if environ["REQUEST_METHOD"] == "HEAD" else body
            start_response(
                status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body))), *headers.items()]
            )
            return [body]
        if kind == "slow":
            time.sleep(0.5)
        if kind == "careless":
            environ.pop("HTTP_IF_NONE_MATCH", None)
        if kind == "tagged":
            return application(environ, tagged(start_response))
        if kind == "lost":
            b"".join(application(environ, lambda *_: None))
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        answer = application(environ, start_response)
        if kind == "cut":
            body = b"".join(answer)
            return [body[: len(body) // 2]]
        return answer

    return respond


def tagged(start_response):
    def start(status, headers, *rest):
        return start_response(
            status, [(name, '"0"' if name.lower() == "etag" else value) for name, value in headers], *rest
        )

    return start


def set_faults(address, **faults):
    """Have a server fail from now on as `Faults` says."""
    request = urllib.request.Request(address + CONTROL, json.dumps(faults).encode(), method="PUT")
    urllib.request.urlopen(request).close()


def make_bucket():
    """The URL of a new bucket of the server that the environment names."""
    import s3fs

    name = f"bucket-{uuid.uuid4().hex}"
    while True:
        try:
            s3fs.S3FileSystem(use_listings_cache=False).mkdir(name)
        except OSError:  # the server may be one that fails
            continue
        return f"s3://{name}"


def serve(fraction):
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    WSGIRequestHandler.log = lambda *_, **__: None
    application = failing(DomainDispatcherApplication(create_backend_app), Faults(fraction))
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextlib.contextmanager
def s3_server(fraction=0.0):
    """Yields the address of a server with no buckets."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.s3", str(fraction)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


if __name__ == "__main__":
    serve(float(sys.argv[1]))
