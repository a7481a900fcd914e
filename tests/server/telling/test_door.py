"""Who may ask the monitor, how much, and for how long."""

import json
import logging
import socket
import threading
import time

import httpx
import pytest
from anyio import CapacityLimiter

from conftest import make_loop, make_run
from streamdocs import Stitch
from streamdocs._base.serving import door
from streamdocs.errors import ConfigError
from streamdocs_server.telling.monitor import Monitor

TOKEN = "a-token-of-some-length"


@pytest.fixture
def loop(small_corpus, store):
    return make_loop(make_run(small_corpus, Stitch(generations=1)), store, slots=CapacityLimiter(4))


@pytest.fixture
def start(loop):
    started = []

    def begin(**options) -> Monitor:
        started.append(Monitor(loop, 0, **options))
        started[-1].start()
        return started[-1]

    yield begin
    for monitor in started:
        monitor.close()


def talk(monitor: Monitor, request: bytes) -> bytes:
    """What comes back until the connection ends."""
    with socket.create_connection(monitor._server.server_address[:2], timeout=30) as connection:
        try:
            connection.sendall(request)
            return b"".join(iter(lambda: connection.recv(65536), b""))
        except (ConnectionResetError, BrokenPipeError):  # it did not read all that was sent
            return b""


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "example.org"])
def test_others_are_let_in_with_a_token_only(loop, host):
    with pytest.raises(ConfigError, match=r"can be reached from elsewhere: set server\.monitor_token_env"):
        Monitor(loop, 0, host)


@pytest.mark.parametrize("value", [None, "", "short", "with\nlines" * 4, "é" * 20])
def test_what_is_no_token_is_refused_and_not_shown(loop, monkeypatch, value):
    monkeypatch.delenv("MONITOR_TOKEN", raising=False)
    if value is not None:
        monkeypatch.setenv("MONITOR_TOKEN", value)
    with pytest.raises(ConfigError, match="MONITOR_TOKEN") as caught:
        Monitor(loop, 0, "0.0.0.0", "MONITOR_TOKEN")
    assert not value or value not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0", "::1"])
def test_a_token_is_asked_for_but_not_of_probes(start, monkeypatch, caplog, host):
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6")
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MONITOR_TOKEN", TOKEN)
    monitor = start(host=host, token_env="MONITOR_TOKEN")
    port = monitor._server.server_address[1]
    url = f"http://[::1]:{port}" if host == "::1" else f"http://127.0.0.1:{port}"
    right = {"Authorization": f"Bearer {TOKEN}"}
    wrong = ["", "Bearer", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN]
    with httpx.Client(base_url=url) as client:
        assert client.get("/health").status_code == 200
        for path in ("/metrics", "/status", "/other", "//health", "/health/../status", "/%2e/status"):
            assert client.get(path).status_code == 401
            for value in wrong:
                refused = client.get(path, headers={"Authorization": value})
                assert refused.status_code == 401 and refused.headers["www-authenticate"] == "Bearer"
        assert client.get("/metrics", headers=right).status_code == 200
        shown = client.get("/status", headers=right)
        assert shown.json()["endpoints"] == []
    assert TOKEN not in caplog.text + shown.text


def test_on_the_loopback_no_other_site_can_have_a_browser_ask(start):
    monitor = start()
    port = monitor._server.server_address[1]
    for name in (
        f"127.0.0.1:{port}",
        f"localhost:{port}",
        "LOCALHOST",
        f"127.0.0.2:{port}",
        f"[::1]:{port}",
        "[::1]",
        "127.0.0.1",
    ):
        assert status(talk(monitor, b"GET /status HTTP/1.1\r\nHost: %s\r\n\r\n" % name.encode())) == 200
    assert status(talk(monitor, b"GET /status HTTP/1.0\r\n\r\n")) == 200  # no browser leaves it out
    for name in (
        "example.org",
        f"example.org:{port}",
        "127.0.0.1.example.org",
        "localhost.example.org",
        "127.0.0.2:1:2",
    ):
        for path in (b"/status", b"/health", b"/metrics"):
            assert status(talk(monitor, b"GET %s HTTP/1.1\r\nHost: %s\r\n\r\n" % (path, name.encode()))) == 421


def test_nothing_but_reading_is_answered(start):
    monitor = start()
    for method in (b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"X"):
        assert status(talk(monitor, method + b" /status HTTP/1.1\r\n\r\n")) == 405
    assert status(talk(monitor, b"GET /status HTTP/1.1\r\nContent-Length: 5\r\n\r\nabcde")) == 413
    assert status(talk(monitor, b"GET /status HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")) == 413
    for path in (b"/status", b"/metrics", b"/other"):
        answer = talk(monitor, b"GET " + path + b" HTTP/1.1\r\n\r\n")
        assert b"\r\nServer: streamdocs\r\n" in answer and b"CPython" not in answer


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /status HTTP/1.1\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
        b"GET /status HTTP/1.1\r\nX: " + b"y" * 1_000_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 1_000_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /status?" + b"name[]=x&" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"\x00" * 100_000,
        b"\r\n" * 10_000,
        b"GET /status HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nAccept: " + b"a;q=x," * 900 + b"\r\n\r\n",
    ],
)
def test_what_is_too_large_or_no_request_is_not_answered_and_harms_nobody(start, request_):
    monitor = start()
    answer = talk(monitor, request_)
    assert b"streamdocs" not in answer.split(b"\r\n\r\n", 1)[-1] or b"/metrics" in request_
    assert len(answer) < 1 << 16
    assert status(talk(monitor, b"GET /health HTTP/1.1\r\n\r\n")) == 200


def test_who_says_nothing_takes_no_thread_for_ever(start, monkeypatch):
    monkeypatch.setattr(door, "CONNECTION_SECONDS", 1.0)
    monitor = start()
    address = monitor._server.server_address[:2]
    silent = [socket.create_connection(address, timeout=30) for _ in range(5)]
    # One that always says a little more, too late for any timeout between two words.
    dripping, ended = socket.create_connection(address, timeout=30), threading.Event()

    def drip() -> None:
        try:
            while True:
                dripping.sendall(b"G")
                time.sleep(0.05)
        except OSError:
            ended.set()

    threading.Thread(target=drip, daemon=True).start()
    for connection in silent:
        assert connection.recv(1) == b""
        connection.close()
    assert ended.wait(30)
    deadline = time.monotonic() + 30
    while monitor._server._began and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not monitor._server._began
    assert status(talk(monitor, b"GET /health HTTP/1.1\r\n\r\n")) == 200


def test_there_are_never_more_threads_than_that(start, monkeypatch):
    monkeypatch.setattr(door, "CONNECTION_SECONDS", 3.0)
    monitor = start()
    before, address = threading.active_count(), monitor._server.server_address[:2]
    connections = [socket.create_connection(address, timeout=30) for _ in range(door.MOST_CONNECTIONS + 40)]
    turned_away = [connection for connection in connections if connection.recv(1) == b""]  # in the end all of them
    assert len(turned_away) == len(connections)
    assert threading.active_count() <= before + door.MOST_CONNECTIONS
    assert json.loads(talk(monitor, b"GET /health HTTP/1.1\r\n\r\n").split(b"\r\n\r\n")[1]) == {"healthy": True}
    for connection in connections:
        connection.close()
