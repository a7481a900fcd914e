"""From a URL to the objects there."""

import os
import re
from urllib.parse import unquote, urlsplit

from streamdocs.errors import ConfigError
from streamdocs.store.objects.base import Objects
from streamdocs.store.objects.folder import FolderObjects, MemoryObjects

SCHEMES = ("s3", "gs", "az", "file", "memory")

_LIKE_A_URL = re.compile(rf"({'|'.join(SCHEMES)}):", re.IGNORECASE)


def is_url(location: str) -> bool:
    """Whether a store's location is meant as that of objects, and not as a folder of this machine."""
    return "://" in location or _LIKE_A_URL.match(location) is not None


def check_url(url: str) -> None:
    """Whether it says where objects are, and nothing else.

    Raises:
        ConfigError: It does not. The URL is not in the message: there may be a secret anywhere in it.
    """
    if "://" not in url:
        raise ConfigError(
            "store: a URL has two slashes, like s3://bucket/prefix; a folder of such a name is said with ./"
        )
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ConfigError("store: a URL that cannot be read; it is like s3://bucket/prefix") from None
    if parts.scheme not in SCHEMES:
        known = ", ".join(f"{scheme}://" for scheme in SCHEMES[:-1])
        raise ConfigError(f"store {parts.scheme}://…: known are {known} and folders")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ConfigError(
            f"store {parts.scheme}://…: a bucket and a path, without user, key, ? or #. Who may use it is said where "
            "the provider's own tools look for it: environment, profile, role of the machine"
        )
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost") or not parts.path.strip("/"):
            raise ConfigError("store file://…: file:///folder, with three slashes")
    elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", parts.netloc):
        raise ConfigError(f"store {parts.scheme}://…: a bucket after {parts.scheme}://, of letters, digits and . _ -")
    if ".." in parts.path.split("/"):
        raise ConfigError(f"store {parts.scheme}://…: a path without ..")


def open_objects(url: str) -> Objects:
    """The objects below a URL, each of one request.

    Raises:
        ConfigError: It is none.
    """
    check_url(url)
    parts = urlsplit(url)
    bucket, prefix = parts.netloc, parts.path.strip("/")
    if parts.scheme == "file":
        return FolderObjects(os.path.realpath(unquote(parts.path)))
    if parts.scheme == "memory":
        return MemoryObjects(f"{bucket}/{prefix}".rstrip("/"))
    # Each takes a second to import.
    if parts.scheme == "s3":
        from streamdocs.store.objects.s3 import S3Objects  # noqa: PLC0415

        return S3Objects(bucket, prefix)
    if parts.scheme == "gs":
        from streamdocs.store.objects.gcs import GcsObjects  # noqa: PLC0415

        return GcsObjects(bucket, prefix)
    from streamdocs.store.objects.azure import AzureObjects  # noqa: PLC0415

    return AzureObjects(bucket, prefix)
