"""Proxies and certificates of the environment: which is used, and which variable is named when it does not work."""

import asyncio
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from yarl import URL

from servers import Mocked, request
from streamdocs._base.serving.door import is_loopback
from streamdocs.errors import ConfigError, EngineError
from streamdocs.writers import GeneratorSection
from streamdocs_server._base.network import CA_VARIABLES, past_proxies, proxy_of, trust
from streamdocs_server.engines.base import TryAgainError
from streamdocs_server.engines.openai import OpenAIEndpoint
from streamdocs_server.engines.sglang import start_sglang

DEAD = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("variables", "url", "variable"),
    [
        ({"HTTP_PROXY": DEAD}, "http://gpu-7:30000", "HTTP_PROXY"),
        ({"http_proxy": DEAD, "HTTP_PROXY": "http://other:1"}, "http://gpu-7:30000", "http_proxy"),
        ({"http_proxy": "", "HTTP_PROXY": DEAD}, "http://gpu-7:30000", None),
        ({"HTTP_PROXY": "127.0.0.1:9"}, "http://gpu-7:30000", "HTTP_PROXY"),
        ({"HTTP_PROXY": DEAD}, "https://gpu-7", None),
        ({"HTTPS_PROXY": DEAD}, "https://gpu-7", "HTTPS_PROXY"),
        ({"ALL_PROXY": DEAD}, "https://gpu-7", "ALL_PROXY"),
        ({"HTTPS_PROXY": DEAD, "ALL_PROXY": "http://other:1"}, "https://gpu-7", "HTTPS_PROXY"),
        ({"HTTP_PROXY": DEAD, "REQUEST_METHOD": "GET"}, "http://gpu-7", None),  # a header, in a CGI program
        # This machine needs none,
        ({"ALL_PROXY": DEAD}, "http://localhost:30000", None),
        ({"ALL_PROXY": DEAD}, "http://127.0.0.1:30000", None),
        ({"ALL_PROXY": DEAD}, "http://127.3.2.1:30000", None),
        ({"ALL_PROXY": DEAD}, "http://[::1]:30000", None),
        ({"ALL_PROXY": DEAD}, "http://0.0.0.0:30000", None),
        # nor does what is excepted.
        ({"ALL_PROXY": DEAD, "NO_PROXY": "gpu-7"}, "http://gpu-7:30000", None),
        ({"ALL_PROXY": DEAD, "no_proxy": "a, GPU-7"}, "http://gpu-7:30000", None),
        ({"ALL_PROXY": DEAD, "NO_PROXY": "*"}, "http://gpu-7:30000", None),
        ({"ALL_PROXY": DEAD, "NO_PROXY": ".example.org"}, "http://gpu.example.org", None),
        ({"ALL_PROXY": DEAD, "NO_PROXY": "*.example.org"}, "http://gpu.example.org", None),
        ({"ALL_PROXY": DEAD, "NO_PROXY": "example.org"}, "http://gpu.example.org", None),
        ({"ALL_PROXY": DEAD, "NO_PROXY": "example.org"}, "http://myexample.org", "ALL_PROXY"),
        ({"ALL_PROXY": DEAD, "NO_PROXY": "10.0.0.0/8"}, "http://10.1.2.3:30000", None),
        ({"ALL_PROXY": DEAD, "NO_PROXY": "10.0.0.0/8"}, "http://11.1.2.3:30000", "ALL_PROXY"),
        ({"ALL_PROXY": DEAD, "NO_PROXY": "10.1.2.3"}, "http://10.1.2.3:30000", None),
        ({"ALL_PROXY": DEAD, "NO_PROXY": "[fd00::]/8"}, "http://[fd00::7]:30000", "ALL_PROXY"),
        ({"ALL_PROXY": DEAD, "NO_PROXY": "fd00::/8"}, "http://[fd00::7]:30000", None),
        ({"ALL_PROXY": DEAD, "NO_PROXY": "gpu-7:30000"}, "http://gpu-7:30000", None),
        ({"ALL_PROXY": DEAD, "NO_PROXY": "gpu-7:443"}, "https://gpu-7", None),
        ({"ALL_PROXY": DEAD, "NO_PROXY": "gpu-7:80"}, "http://gpu-7:30000", "ALL_PROXY"),
        ({"ALL_PROXY": DEAD, "NO_PROXY": " ,, "}, "http://gpu-7:30000", "ALL_PROXY"),
    ],
)
def test_the_proxy_of_an_url(monkeypatch, variables, url, variable):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = proxy_of(URL(url))
    assert (found and (found.variable, str(found.url))) == (variable and (variable, DEAD))


@pytest.mark.parametrize("value", ["ftp://proxy:1", "http://", "http://user:geheim@:1", "socks5://proxy:1"])
def test_a_proxy_that_cannot_be_used_is_refused_by_its_variable_and_not_shown(monkeypatch, value):
    monkeypatch.setenv("ALL_PROXY", value)
    monkeypatch.setattr("streamdocs_server._base.network.find_spec", lambda _: None)  # no socksio
    with pytest.raises(ConfigError, match=r"ALL_PROXY .*name gpu-7 in NO_PROXY") as caught:
        OpenAIEndpoint(url="http://gpu-7:30000")
    assert "geheim" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "url"), [("HTTP_PROXY", "http://gpu-7.invalid:1"), ("HTTPS_PROXY", "https://gpu-7.invalid")]
)
def test_what_fails_on_the_way_through_a_proxy_names_its_variable(monkeypatch, variable, url):
    monkeypatch.setenv(variable, DEAD)
    with pytest.raises(TryAgainError, match=rf"through the proxy of {variable}; gpu-7\.invalid in NO_PROXY") as caught:
        asyncio.run(OpenAIEndpoint(url=url, model="m").ask(request(), 1, 0))
    assert caught.value.cause == "connection"


class Denies(BaseHTTPRequestHandler):
    """A proxy that lets nobody through, or a server that speaks no TLS."""

    def do_GET(self) -> None:
        self.send_error(407)

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def denies():
    with ThreadingHTTPServer(("127.0.0.1", 0), Denies) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_proxy_that_answers_itself_is_named_too(monkeypatch, denies):
    monkeypatch.setenv("http_proxy", f"http://name:geheim@{denies}")
    with pytest.raises(EngineError, match=r"through the proxy of http_proxy.*status 407") as caught:
        asyncio.run(OpenAIEndpoint(url="http://gpu-7.invalid").identify())
    assert "geheim" not in str(caught.value)


def test_a_server_without_tls_is_not_asked_again_and_again(denies):
    with pytest.raises(EngineError, match="does not speak TLS: is its URL one of http") as caught:
        asyncio.run(OpenAIEndpoint(url=f"https://{denies}").identify())
    assert not isinstance(caught.value, TryAgainError)


@pytest.mark.parametrize("variable", CA_VARIABLES)
def test_a_certificate_that_is_not_trusted_names_the_variable(monkeypatch, variable, tmp_path):
    def untrusted(_: httpx.Request) -> httpx.Response:
        reason = ssl.SSLCertVerificationError()
        reason.verify_message = "unable to get local issuer certificate"
        raise httpx.ConnectError("certificate verify failed") from reason

    def ask() -> str:
        endpoint = OpenAIEndpoint(url="https://gpu-7", transport=Mocked(untrusted))
        with pytest.raises(EngineError, match="local issuer") as caught:
            asyncio.run(endpoint.identify())
        assert not isinstance(caught.value, TryAgainError)
        return str(caught.value)

    assert "SSL_CERT_FILE may name a file of others" in ask()
    monkeypatch.setenv(variable, str(tmp_path))
    assert f"those that {variable} names" in ask()


@pytest.mark.parametrize("variable", [name for name in CA_VARIABLES if name != "SSL_CERT_DIR"])
@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_refused_where_they_are_needed(monkeypatch, tmp_path, variable, content):
    if content:
        (tmp_path / "ca.pem").write_text(content)
    monkeypatch.setenv(variable, str(tmp_path / "ca.pem"))
    with pytest.raises(ConfigError, match=rf"{variable}={tmp_path}/ca\.pem cannot be read as CA certificates"):
        OpenAIEndpoint(url="https://gpu-7")
    asyncio.run(OpenAIEndpoint(url="http://gpu-7").close())


def test_without_a_variable_public_certificates_are_trusted():
    found = trust()
    assert found.variable is None and found.context.verify_mode == ssl.CERT_REQUIRED


def test_a_server_that_is_started_here_asks_itself_without_a_proxy(monkeypatch, tmp_path):
    import sys

    monkeypatch.setenv("HTTP_PROXY", DEAD)
    monkeypatch.setenv("NO_PROXY", "example.org")
    section = GeneratorSection(model_path="/models/m", sglang_python=sys.executable)
    environment = start_sglang(section)[0]._environment
    assert environment["HTTP_PROXY"] == DEAD  # a hub may be behind it
    for name in ("no_proxy", "NO_PROXY"):
        assert environment[name] == "example.org,localhost,127.0.0.1,::1"
    monkeypatch.delenv("NO_PROXY")
    assert past_proxies({})["NO_PROXY"] == "localhost,127.0.0.1,::1"


@pytest.mark.parametrize(
    ("host", "local"), [("::1", True), ("127.9.9.9", True), ("LOCALHOST", True), ("0.0.0.0", False)]
)
def test_what_nobody_else_can_reach(host, local):
    assert is_loopback(host) == local


async def _socks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A SOCKS proxy that wants a name and a password, and answers in the place of every server."""
    _, methods = await reader.readexactly(2)
    await reader.readexactly(methods)
    writer.write(b"\x05\x02")
    told = [await reader.readexactly(length) for length in (2, 4, 1, 6)]  # "name", "geheim"
    writer.write(b"\x01\x00" if (told[1], told[3]) == (b"name", b"geheim") else b"\x01\x01")
    head = await reader.readexactly(5)  # by its name: the proxy looks it up
    host = await reader.readexactly(head[4] + 2)
    writer.write(b"\x05\x00\x00\x01" + bytes(6))
    await reader.readuntil(b"\r\n\r\n")
    body = b'{"data": [{"id": "%s"}]}' % host[:-2]
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@pytest.mark.parametrize("scheme", ["socks5", "socks5h"])
def test_a_socks_proxy(monkeypatch, scheme: str):
    pytest.importorskip("aiohttp_socks")

    async def identify(proxy: str) -> tuple[str, str]:
        monkeypatch.setenv("ALL_PROXY", proxy)
        endpoint = OpenAIEndpoint(url="http://gpu-7.invalid:30000")
        try:
            return await endpoint.identify()
        finally:
            await endpoint.close()

    async def work() -> None:
        server = await asyncio.start_server(_socks, "127.0.0.1", 0)
        place = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert await identify(f"{scheme}://name:geheim@{place}") == ("gpu-7.invalid", "")
        for wrong in (f"{scheme}://name:falsch@{place}", f"{scheme}://127.0.0.1:9"):
            with pytest.raises(TryAgainError, match=r"through the proxy of ALL_PROXY.*(Proxy|at the proxy)") as caught:
                await identify(wrong)
            assert caught.value.cause == "connection" and "falsch" not in str(caught.value)
        server.close()

    asyncio.run(work())
