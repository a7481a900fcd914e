"""moto's S3 as a process of its own.

moto looks whether a key is there and then puts it, without a lock between: of several conditional PUTs at once more
than one may succeed. Here requests are answered one after another, as if each were alone.

usage: s3.py [--overwrites]
"""

import io
import os
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).parents[1])

from objects.process import Served, tell_port

BUCKET = "bucket"
#: What moto takes from anybody.
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class S3(Served):
    """An S3 server with one empty bucket.

    Args:
        overwrites: It knows nothing of If-None-Match, as some servers that speak S3: a PUT always succeeds.
    """

    def __init__(self, *, overwrites: bool = False) -> None:
        super().__init__(Path(__file__), *(["--overwrites"] if overwrites else []))
        try:
            client_of(self.url).create_bucket(Bucket=BUCKET)
        except BaseException:
            self.kill()
            raise


def environment_of(url: str) -> dict[str, str]:
    """What a process needs in its environment to use a server as its S3."""
    return {"AWS_ENDPOINT_URL": url, **KEYS}


def client_of(url: str, **options: Any) -> Any:
    """A client of a server that asks once and waits for at most ten seconds."""
    import boto3
    from botocore.config import Config

    config = Config(**{"retries": {"total_max_attempts": 1}, "connect_timeout": 10, "read_timeout": 10, **options})
    names = {
        "aws_access_key_id": KEYS["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": KEYS["AWS_SECRET_ACCESS_KEY"],
        "region_name": KEYS["AWS_DEFAULT_REGION"],
    }
    return boto3.client("s3", endpoint_url=url, config=config, **names)


def one_by_one(app: App, *, overwrites: bool = False) -> App:
    """An app that begins a request once it has answered the last one, and received all of the next."""
    alone = threading.Lock()

    def answer(environment: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if not environment.get("wsgi.input_terminated"):  # otherwise it has no length: whoever reads it sees its end
            size = int(environment.get("CONTENT_LENGTH") or 0)
            environment["wsgi.input"] = io.BytesIO(environment["wsgi.input"].read(size))
        if overwrites:
            environment.pop("HTTP_IF_NONE_MATCH", None)
        with alone:
            found = app(environment, start_response)
            try:
                return [b"".join(found)]
            finally:
                getattr(found, "close", lambda: None)()

    return answer


def serve(*, overwrites: bool) -> None:
    """Until the process ends."""
    os.environ.update(KEYS)
    from moto.server import create_backend_app
    from werkzeug.serving import WSGIRequestHandler, make_server

    class Quiet(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"  # connections stay open

        def log_request(self, *_: Any) -> None:
            pass

    app = one_by_one(create_backend_app("s3"), overwrites=overwrites)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    server.daemon_threads = True
    tell_port(server.port)
    server.serve_forever()


if __name__ == "__main__":
    serve(overwrites="--overwrites" in sys.argv)
