"""Objects in Azure Blob Storage."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.core.pipeline.policies import RetryMode
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient
from requests.exceptions import InvalidSchema, InvalidURL

from streamdocs.store.objects.base import BusyError, Listed, RefusedError
from streamdocs.store.objects.bucket import BucketObjects, without_users

# Requests are repeated elsewhere, where it is known what that means.
_ONCE: dict[str, Any] = {
    "retry_total": 0, "connection_timeout": 5, "read_timeout": 20, "retry_mode": RetryMode.Fixed
}  # fmt: skip


class AzureObjects(BucketObjects):
    """Objects of a container. Where it is, and who may read and write, is said as for Azure's command line.

    ``AZURE_STORAGE_CONNECTION_STRING``, or ``AZURE_STORAGE_ACCOUNT`` with ``AZURE_STORAGE_KEY`` or an identity.
    """

    scheme = "az"
    advice = (
        "Set AZURE_STORAGE_ACCOUNT, and AZURE_STORAGE_KEY or an identity; or AZURE_STORAGE_CONNECTION_STRING, as the "
        "portal shows it"
    )

    def create(self, name: str, data: bytes) -> bool:
        """Create an object unless one of that name is there; whether this did."""
        with self._errors():
            try:
                self._client.upload_blob(self._prefix + name, data, overwrite=False, max_concurrency=1)
            except ResourceExistsError:
                return False
        return True

    def get(self, name: str) -> bytes | None:
        """All of an object; None where there is none."""
        with self._errors():
            try:
                return self._client.download_blob(self._prefix + name, max_concurrency=1).readall()
            except ResourceNotFoundError as error:
                if getattr(error, "error_code", "") == "BlobNotFound":
                    return None
                raise

    def list(self, prefix: str) -> Iterator[Listed]:
        """Those whose names begin with a prefix, in the order of their names."""
        with self._errors():
            for blob in self._client.list_blobs(name_starts_with=self._prefix + prefix):
                yield Listed(blob.name.removeprefix(self._prefix), blob.size)

    def delete(self, names: Sequence[str]) -> None:
        """Delete these, as far as they are there."""
        with self._errors():
            for name in names:
                try:
                    self._client.delete_blob(self._prefix + name)
                except ResourceNotFoundError:
                    continue

    def _open(self) -> ContainerClient:
        if connection := os.environ.get("AZURE_STORAGE_CONNECTION_STRING"):
            return ContainerClient.from_connection_string(connection, self._bucket, **_ONCE)
        if not (account := os.environ.get("AZURE_STORAGE_ACCOUNT")):
            raise ValueError("nothing says which account")
        credential = os.environ.get("AZURE_STORAGE_KEY") or DefaultAzureCredential()
        return ContainerClient(f"https://{account}.blob.core.windows.net", self._bucket, credential, **_ONCE)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ClientAuthenticationError as error:
            raise RefusedError(f"{self.location}: {_first_line(error)}. {self.advice}") from error
        except HttpResponseError as error:
            told, status = f"{self.location}: {_first_line(error)}", error.status_code or 500
            if status >= 500 or status in (408, 409, 429):
                raise BusyError(told) from error
            raise RefusedError(f"{told}. Check the container, and who may use it") from error
        except AzureError as error:
            told = f"{self.location}: {without_users(error)}"
            if isinstance(error.inner_exception, InvalidURL | InvalidSchema):
                raise RefusedError(f"{told}. {self.advice}") from error
            raise BusyError(told) from error


def _first_line(error: AzureError) -> str:
    """What it says, without ids and times."""
    return without_users(str(error.message).partition("\n")[0])
