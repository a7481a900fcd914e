"""Objects in S3, or on a server that speaks it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ChecksumError,
    ClientError,
    ConnectionError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    MetadataRetrievalError,
)

from streamdocs.store.objects.base import BusyError, Listed, RefusedError
from streamdocs.store.objects.bucket import BucketObjects, without_users

# Requests are repeated elsewhere, where it is known what that means.
_CONFIG = Config(
    connect_timeout=5, read_timeout=20, retries={"total_max_attempts": 1}, max_pool_connections=32, tcp_keepalive=True
)
_MOST_DELETED = 1000
#: What may pass by itself; all else that AWS' library finds wrong is said by settings.
_PASSING = (
    ConnectionError,
    HTTPClientError,
    IncompleteReadError,
    ChecksumError,
    FlexibleChecksumError,
    CredentialRetrievalError,
    MetadataRetrievalError,
)
#: Errors that say "later" with a status of those that say "no".
_LATER = ("RequestTimeout", "SlowDown", "ConditionalRequestConflict")


class S3Objects(BucketObjects):
    """Objects of a bucket. Who may read and write is found where AWS' own tools look for it."""

    scheme = "s3"
    advice = "Set them as for the AWS command line: keys or a profile, region, endpoint"

    def create(self, name: str, data: bytes) -> bool:
        """Create an object unless one of that name is there; whether this did."""
        with self._errors():
            try:
                self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=data, IfNoneMatch="*")
            except ClientError as error:
                if error.response["Error"]["Code"] in ("PreconditionFailed", "412"):
                    return False
                raise
        return True

    def get(self, name: str) -> bytes | None:
        """All of an object; None where there is none."""
        with self._errors():
            try:
                return self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read()
            except ClientError as error:
                if error.response["Error"]["Code"] == "NoSuchKey":
                    return None
                raise

    def list(self, prefix: str) -> Iterator[Listed]:
        """Those whose names begin with a prefix, in the order of their names."""
        with self._errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            for page in pages:
                for each in page.get("Contents", ()):
                    yield Listed(each["Key"].removeprefix(self._prefix), each["Size"])

    def delete(self, names: Sequence[str]) -> None:
        """Delete these, as far as they are there."""
        with self._errors():
            for start in range(0, len(names), _MOST_DELETED):
                which = [{"Key": self._prefix + name} for name in names[start : start + _MOST_DELETED]]
                done = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": which, "Quiet": True})
                if failed := done.get("Errors"):
                    raise RefusedError(f"{self.location}: {failed[0].get('Key')} cannot be deleted: {failed[0]}")

    def _open(self) -> Any:
        return boto3.session.Session().client("s3", config=_CONFIG)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except ClientError as error:
            status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)
            later = status >= 500 or status in (409, 429) or error.response["Error"]["Code"] in _LATER
            told = f"{self.location}: {without_users(error)}"
            if later:
                raise BusyError(told) from error
            raise RefusedError(f"{told}. Check the bucket, its region, and who may use it") from error
        except _PASSING as error:
            raise BusyError(f"{self.location}: {without_users(error)}") from error
        except BotoCoreError as error:
            raise RefusedError(f"{self.location}: {without_users(error)}. {self.advice}") from error
