"""An S3 server as a process of its own: moto's, which fails as many requests as it is asked to.

python -m tests.s3 FRACTION      serves on a free port of 127.0.0.1, which it prints
"""

import random
import socket
import subprocess
import sys
import uuid
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent
ACCESS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
UNAVAILABLE = b"<Error><Code>ServiceUnavailable</Code><Message>Please try again.</Message></Error>"
INTERNAL = b"<Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>"


def failing(application, fraction):
    """Some requests are refused, some answers are lost after the work was done, some end in the middle."""
    luck = random.Random(0)

    def respond(environ, start_response):
        if luck.random() >= fraction:
            return application(environ, start_response)
        kind = luck.choice(["refused", "internal", "lost", "cut"])
        if kind in ("lost", "cut"):
            body = b"".join(application(environ, start_response if kind == "cut" else lambda *_: None))
            if kind == "cut":
                return [body[: len(body) // 2]]
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
            raise ConnectionResetError
        status, body = ("503 Slow Down", UNAVAILABLE) if kind == "refused" else ("500 Internal Server Error", INTERNAL)
        start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]

    return respond


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
    application = failing(DomainDispatcherApplication(create_backend_app), fraction)
    server = make_server("127.0.0.1", 0, application, threaded=True)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
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
