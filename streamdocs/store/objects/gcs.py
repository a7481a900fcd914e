"""Objects in Google Cloud Storage."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import requests
from google.api_core.exceptions import GoogleAPICallError, NotFound, PreconditionFailed, RetryError
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.cloud import storage
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema

from streamdocs.store.objects.base import BusyError, Listed, RefusedError
from streamdocs.store.objects.bucket import BucketObjects, without_users

# Requests are repeated elsewhere, where it is known what that means. Seconds: to connect, and between two bytes.
_ONCE: dict[str, Any] = {"retry": None, "timeout": (5, 20)}


class GcsObjects(BucketObjects):
    """Objects of a bucket. Who may read and write is found where Google's own tools look for it."""

    scheme = "gs"
    advice = (
        "Set them as for Google's tools: GOOGLE_APPLICATION_CREDENTIALS, or `gcloud auth application-default login`"
    )

    def create(self, name: str, data: bytes) -> bool:
        """Create an object unless one of that name is there; whether this did."""
        with self._errors():
            try:
                self._blob(name).upload_from_string(
                    data, content_type="application/octet-stream", if_generation_match=0, **_ONCE
                )
            except PreconditionFailed:
                return False
        return True

    def get(self, name: str) -> bytes | None:
        """All of an object; None where there is none."""
        with self._errors():
            try:
                return self._blob(name).download_as_bytes(**_ONCE)
            except NotFound as error:
                if "bucket does not exist" in str(error):
                    raise
                return None

    def list(self, prefix: str) -> Iterator[Listed]:
        """Those whose names begin with a prefix, in the order of their names."""
        with self._errors():
            for blob in self._client.list_blobs(prefix=self._prefix + prefix, **_ONCE):
                yield Listed(blob.name.removeprefix(self._prefix), blob.size)

    def delete(self, names: Sequence[str]) -> None:
        """Delete these, as far as they are there."""
        with self._errors():
            for name in names:
                try:
                    self._blob(name).delete(**_ONCE)
                except NotFound:
                    continue

    def _blob(self, name: str) -> Any:
        return self._client.blob(self._prefix + name)

    def _open(self) -> Any:
        return storage.Client(project=None).bucket(self._bucket)  # only who lists or makes buckets has to name one

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except GoogleAPICallError as error:
            told = f"{self.location}: {without_users(error)}"
            if (error.code or 500) >= 500 or error.code in (408, 409, 429):
                raise BusyError(told) from error
            raise RefusedError(f"{told}. Check the bucket, and who may use it") from error
        except (DefaultCredentialsError, InvalidURL, InvalidSchema, MissingSchema) as error:
            raise RefusedError(f"{self.location}: {without_users(error)}. {self.advice}") from error
        except (requests.RequestException, RetryError, GoogleAuthError, ConnectionError) as error:
            raise BusyError(f"{self.location}: {without_users(error)}") from error
