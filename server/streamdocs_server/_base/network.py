"""What the environment says of how a server is reached: proxies, certificates, and which variable says it."""

import ipaddress
import os
import re
import ssl
from contextlib import suppress
from importlib.util import find_spec
from typing import NamedTuple

import certifi
from yarl import URL

from streamdocs._base.serving.door import is_loopback
from streamdocs.errors import ConfigError

#: The first that is set counts: OpenSSL's own two, and those of requests and curl.
CA_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
_SOCKS = ("socks5", "socks5h")


class Proxy(NamedTuple):
    """A proxy, and the environment variable that names it."""

    variable: str
    url: URL

    @property
    def is_socks(self) -> bool:
        """Whether it speaks SOCKS, and not HTTP."""
        return self.url.scheme in _SOCKS


class Trust(NamedTuple):
    """Whose certificates are trusted, and the environment variable that says so; None for certifi's."""

    variable: str | None
    context: ssl.SSLContext


def parse_url(text: str) -> URL:
    """A URL with a host that names can be looked up for; ``ValueError`` where it is none."""
    url = URL(text)
    if not url.raw_host or not text.isprintable() or " " in text:
        raise ValueError("it has no host, or what no URL has")
    url.raw_host.encode("idna")  # or else the first look-up would fail so
    return url


def proxy_of(url: URL) -> Proxy | None:
    """The proxy to a server: none to this machine, nor to what ``NO_PROXY`` names (hosts, domains, networks, ports).

    Raises:
        ConfigError: The variable does not hold a proxy that can be used.
    """
    entries, host = re.split(r"[\s,]+", _read("no_proxy")[1]), url.host or ""
    if is_loopback(host) or host == "0.0.0.0" or any(_matches(entry, url) for entry in entries):
        return None
    for name in (f"{url.scheme}_proxy", "all_proxy"):
        variable, value = _read(name)
        if value:
            return Proxy(variable, _proxy(variable, value, host))
    return None


def trust() -> Trust:
    """Whose certificates are trusted.

    Raises:
        ConfigError: A variable names certificates that cannot be read.
    """
    for variable in CA_VARIABLES:
        if place := os.environ.get(variable):
            file, folder = (None, place) if os.path.isdir(place) else (place, None)
            try:
                return Trust(variable, ssl.create_default_context(cafile=file, capath=folder))
            except OSError as error:  # an SSLError too
                raise ConfigError(
                    f"{variable}={place} cannot be read as CA certificates ({error}): name a file of them, or unset it"
                ) from error
    return Trust(None, ssl.create_default_context(cafile=certifi.where()))


def past_proxies(environment: dict[str, str]) -> dict[str, str]:
    """An environment in which whoever asks this machine does so without a proxy."""
    excepted = ",".join(filter(None, [_read("no_proxy")[1], "localhost,127.0.0.1,::1"]))
    return environment | {"no_proxy": excepted, "NO_PROXY": excepted}


def _read(name: str) -> tuple[str, str]:
    """A variable and its value. Small letters win, as everywhere; large HTTP_PROXY is a header's in a CGI program."""
    if name in os.environ or (name == "http_proxy" and "REQUEST_METHOD" in os.environ):
        return name, os.environ.get(name, "").strip()
    return name.upper(), os.environ.get(name.upper(), "").strip()


def _matches(entry: str, url: URL) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(url.host or "") in ipaddress.ip_network(entry.strip("[]"), strict=False)
    name, _, port = entry.lower().partition(":")
    if port and port != str(url.port):
        return False
    domain = name.lstrip("*").lstrip(".")
    return name == "*" or (domain != "" and f".{url.host}".endswith(f".{domain}"))


def _proxy(variable: str, value: str, host: str) -> URL:
    mend = f"correct it, unset it, or name {host} in NO_PROXY"
    try:
        url = parse_url(value if "://" in value else f"http://{value}")
        usable = url.scheme in ("http", "https", *_SOCKS)
    except ValueError:
        usable = False
    if not usable:  # not shown, for there may be a password in it
        raise ConfigError(f"{variable} must be the URL of an http, https or socks5 proxy: {mend}")
    if url.scheme in _SOCKS and find_spec("aiohttp_socks") is None:
        raise ConfigError(f"{variable} names a SOCKS proxy, which needs the package aiohttp-socks: install it, {mend}")
    return url
