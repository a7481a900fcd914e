"""What is asked of Google Cloud Storage and Azure, of a double over HTTP that does as their documentation says."""

import base64
import json
import os
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from streamdocs.errors import StoreError
from streamdocs.store import SharedStore
from streamdocs.store.objects.base import BusyError, RefusedError
from streamdocs.store.objects.open import open_objects

_BLOBS = "<?xml version='1.0'?><EnumerationResults><Blobs>{}</Blobs><NextMarker/></EnumerationResults>"
_BLOB = (
    "<Blob><Name>{}</Name><Properties><Content-Length>{}</Content-Length><BlobType>BlockBlob</BlobType></Properties>"
    "</Blob>"
)


_TOLD = {"ETag": '"1"', "x_ms_blob_type": "BlockBlob", "Last_Modified": "Sun, 01 Jan 2026 00:00:00 GMT"}


class Double(BaseHTTPRequestHandler):
    """Objects by name; a status that all requests end with, where one is set."""

    protocol_version = "HTTP/1.1"
    objects: dict[str, bytes]
    status: int | None
    lock = threading.Lock()

    def log_message(self, *_) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body if self.command != "HEAD" else b"")

    def handle_one(self) -> None:
        url = urlsplit(self.path)
        query = {name: value[0] for name, value in parse_qs(url.query).items()}
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = unquote(url.path)
        with self.lock:
            if self.status:
                self.answer(self.status, b"{}", x_ms_error_code="ServerBusy")
            elif "/b/" in path:
                self.google(path, query, body)
            else:
                self.azure(path.removeprefix("/account/bucket").lstrip("/"), query, body)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_one  # noqa: N815

    def google(self, path: str, query: dict[str, str], body: bytes) -> None:
        if "/b/bucket" not in path:
            return self.answer(404, b'{"error": {"message": "no such bucket"}}')
        name = path.partition("/o/")[2]
        if self.command == "POST":
            boundary = re.search(rb'boundary="?([^";]+)', self.headers["Content-Type"].encode())[1]
            about, data = (part.partition(b"\r\n\r\n")[2][:-2] for part in body.split(b"--" + boundary)[1:3])
            name = json.loads(about)["name"]
            if query.get("ifGenerationMatch") == "0" and name in self.objects:
                return self.answer(412, b'{"error": {"message": "conditionNotMet"}}')
            self.objects[name] = data
            return self.answer(200, json.dumps({"name": name}).encode(), Content_Type="application/json")
        if self.command == "DELETE":
            return self.answer(204 if self.objects.pop(name, None) else 404)
        if not name:
            found = [(key, value) for key, value in sorted(self.objects.items()) if key.startswith(query["prefix"])]
            items = [{"name": key, "size": str(len(value))} for key, value in found]
            return self.answer(200, json.dumps({"items": items}).encode(), Content_Type="application/json")
        found = self.objects.get(name)
        return self.answer(404) if found is None else self.answer(200, found)

    def azure(self, name: str, query: dict[str, str], body: bytes) -> None:  # noqa: PLR0911
        if not self.path.startswith("/account/bucket"):
            return self.answer(404, x_ms_error_code="ContainerNotFound")
        if self.command == "PUT":
            if self.headers.get("If-None-Match") == "*" and name in self.objects:
                return self.answer(409, x_ms_error_code="BlobAlreadyExists")
            self.objects[name] = body
            return self.answer(201, **_TOLD)
        if query.get("comp") == "list":
            there = sorted(each for each in self.objects.items() if each[0].startswith(query["prefix"]))
            found = [_BLOB.format(key, len(value)) for key, value in there]
            return self.answer(200, _BLOBS.format("".join(found)).encode(), Content_Type="application/xml")
        if name not in self.objects:
            return self.answer(404, x_ms_error_code="BlobNotFound")
        if self.command == "DELETE":
            del self.objects[name]
            return self.answer(202)
        found = self.objects[name]
        return self.answer(206, found, Content_Range=f"bytes 0-{len(found) - 1}/{len(found)}", **_TOLD)


@pytest.fixture
def double(monkeypatch):
    handler = type("Handler", (Double,), {"objects": {}, "status": None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", url)
    key = base64.b64encode(b"key").decode()
    account = f"DefaultEndpointsProtocol=http;AccountName=account;AccountKey={key};BlobEndpoint={url}/account;"
    monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", account)
    yield handler
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_objects_of_a_provider(double, scheme, tmp_path):
    objects = open_objects(f"{scheme}://bucket/prefix")
    assert objects.create("a/1", b"one") and not objects.create("a/1", b"two")
    assert objects.get("a/1") == b"one" and objects.get("a/2") is None
    assert [tuple(each) for each in objects.list("a/")] == [("a/1", 3)]
    assert list(double.objects) == ["prefix/a/1"]
    objects.delete(["a/1", "a/2"])
    assert objects.get("a/1") is None
    for status, kind in ((503, BusyError), (429, BusyError), (403, RefusedError)):
        double.status = status
        for ask in (lambda: objects.create("b", b""), lambda: objects.get("b"), lambda: list(objects.list(""))):
            with pytest.raises(kind, match=f"{scheme}://bucket/prefix"):
                ask()
    double.status = None
    with pytest.raises(RefusedError, match=f"{scheme}://nowhere"):
        open_objects(f"{scheme}://nowhere/x").create("b", b"")


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_a_store_at_a_provider(double, scheme, tmp_path):
    one, two = (SharedStore(f"{scheme}://bucket/{time.time_ns()}", tmp_path / name) for name in ("one", "two"))
    two = SharedStore(one.location, tmp_path / "two")
    large = {b"%d" % number: bytes([number]) * 4000 for number in range(40)}
    assert one.add("texts", large) == 40 and two.add("texts", large) == 0
    with two.read() as snapshot:
        assert [bytes(value) for value in snapshot.get_many("texts", large).listed()] == [*large.values()]


def test_who_has_no_credentials_is_told(monkeypatch, tmp_path):
    for name in ("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGE_ACCOUNT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(StoreError, match="Set AZURE_STORAGE_ACCOUNT"):
        SharedStore("az://bucket/x", tmp_path).update(b"n", lambda old: b"1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(StoreError, match="Set them as for the AWS command line"):
        SharedStore("s3://bucket/x", tmp_path).update(b"n", lambda old: b"1")


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """Sets what the providers' libraries read, and unsets all else of it."""
    for name in [each for each in os.environ if each.startswith(("AWS_", "AZURE_", "GOOGLE_", "STORAGE_"))]:
        monkeypatch.delenv(name)

    def set_them(**names: str) -> None:
        for name, value in {
            "AWS_CONFIG_FILE": f"{tmp_path}/none",
            "AWS_EC2_METADATA_DISABLED": "true",
            **names,
        }.items():
            monkeypatch.setenv(name, value)

    return set_them


AWS = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
ACCOUNT = "DefaultEndpointsProtocol=http;AccountName=account;AccountKey=YQ==;"


@pytest.mark.parametrize(
    ("scheme", "names"),
    [
        ("s3", AWS | {"AWS_PROFILE": "nope"}),
        ("s3", AWS | {"AWS_DEFAULT_REGION": "us east"}),
        ("s3", AWS | {"AWS_ENDPOINT_URL": "localhost:9000"}),
        ("s3", AWS | {"AWS_ENDPOINT_URL": "http://USER:SEC/RET@127.0.0.1"}),
        ("s3", AWS | {"AWS_CONFIG_FILE": __file__}),
        ("az", {"AZURE_STORAGE_CONNECTION_STRING": "garbage"}),
        ("az", {"AZURE_STORAGE_CONNECTION_STRING": f"{ACCOUNT}BlobEndpoint=http://USER:SECRET@127.0.0.1:port/a"}),
        ("az", {"AZURE_STORAGE_ACCOUNT": "a b", "AZURE_STORAGE_KEY": "YQ=="}),
        ("az", {"AZURE_STORAGE_ACCOUNT": "account", "AZURE_STORAGE_KEY": "not base64!"}),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"}),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": "/"}),
        ("gs", {"GOOGLE_APPLICATION_CREDENTIALS": __file__}),
        ("gs", {"STORAGE_EMULATOR_HOST": "localhost:9000"}),
    ],
)
def test_settings_that_cannot_be_right_are_refused_at_once(settings, scheme, names):
    settings(**names)
    with pytest.raises(RefusedError, match=rf"^{scheme}://bucket/x: .*[^.]\. Set (them|AZURE)") as refused:
        open_objects(f"{scheme}://bucket/x").get("a")
    assert "USER" not in str(refused.value) and "RET" not in str(refused.value)


@pytest.mark.parametrize(
    ("scheme", "names"),
    [
        ("s3", AWS | {"AWS_ENDPOINT_URL": "http://USER:SECRET@127.0.0.1:1"}),
        ("az", {"AZURE_STORAGE_CONNECTION_STRING": f"{ACCOUNT}BlobEndpoint=http://USER:SECRET@127.0.0.1:1/a"}),
        ("gs", {"STORAGE_EMULATOR_HOST": "http://USER:SECRET@127.0.0.1:1"}),
    ],
)
def test_who_does_not_answer_is_told_without_the_key_in_its_url(settings, scheme, names):
    settings(**names)
    with pytest.raises(BusyError, match=r"127\.0\.0\.1") as told:
        open_objects(f"{scheme}://bucket/x").get("a")
    assert "USER" not in str(told.value) and "SECRET" not in str(told.value)


def test_a_user_of_google_needs_no_project(settings, tmp_path):
    user = {"type": "authorized_user", "client_id": "a", "client_secret": "b", "refresh_token": "c"}
    (tmp_path / "user.json").write_text(json.dumps(user))
    settings(GOOGLE_APPLICATION_CREDENTIALS=str(tmp_path / "user.json"))
    assert open_objects("gs://bucket/x")._client.name == "bucket"
