"""Artifacts in a bucket of any S3 endpoint, through boto3 in an executor of its own."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ccdtasks.adapters.storage import THREADS, HashingReader, Stored, TooLarge, attachment
from ccdtasks.errors import CcdError, NotFound, Unavailable

_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 20
_ATTEMPTS = 2
_PART_BYTES = 8 << 20

T = TypeVar("T")


class S3Store:
    """Artifacts in a bucket; a location is the object's key. `patience_s`: how long an answer may take."""

    def __init__(
        self,
        *,
        bucket: str,
        endpoint_url: str | None,
        region: str | None,
        access_key: str | None,
        secret_key: str | None,
    ) -> None:
        self.bucket = bucket
        self._options = {
            "endpoint_url": endpoint_url,
            "region_name": region or "us-east-1",
            "aws_access_key_id": access_key,
            "aws_secret_access_key": secret_key,
        }
        self.patience_s = _READ_TIMEOUT_S
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
        self._lock = threading.Lock()
        self._client: Any = None

    async def put(self, key: str, descriptor: int, *, content_type: str, max_bytes: int) -> Stored:
        """Uploads an open file (the descriptor stays open) to `key`; visible only when complete.

        The server checks the SHA-256 of each part, which our signature covers, and is asked for the size at the end.
        """
        return await self._run(self._put, key, os.dup(descriptor), content_type, max_bytes)

    async def read(self, location: str, max_bytes: int) -> bytes:
        """The whole artifact, or `TooLarge`."""
        return await self._run(self._read, location, max_bytes)

    async def fetch(self, location: str, descriptor: int) -> Stored:
        """Downloads the artifact into an open file (the descriptor stays open), however large it is."""
        return await self._run(self._fetch, location, os.dup(descriptor))

    async def delete(self, location: str) -> None:
        """Removes it; absent is success."""
        await self._run(lambda: self._s3().delete_object(Bucket=self.bucket, Key=location))

    async def link(self, location: str, *, name: str, ttl_s: int) -> str | None:
        """A signed link that saves the artifact as `name`, and never shows it, until `ttl_s` are over."""
        params = {
            "Bucket": self.bucket,
            "Key": location,
            "ResponseContentDisposition": attachment(name),
            "ResponseContentType": "application/octet-stream",
        }
        return await self._run(
            lambda: str(self._s3().generate_presigned_url("get_object", Params=params, ExpiresIn=ttl_s))
        )

    async def check(self) -> None:
        """Asks for the bucket. Raises `Unavailable("store")`."""
        await self._run(lambda: self._s3().head_bucket(Bucket=self.bucket))

    async def close(self) -> None:
        """Lets running transfers end."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, function: Callable[..., T], *arguments: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, function, *arguments)
        except CcdError:
            raise
        except Exception as error:  # boto3 raises its own, urllib3's, the system's, and ValueError for odd settings
            code = _code_of(error)
            if code in ("NoSuchKey", "404"):
                raise NotFound("That file is no longer in the store.") from None
            raise self._unavailable(code) from error

    def _unavailable(self, why: str) -> Unavailable:
        return Unavailable(
            "store",
            f"The bucket {self.bucket} cannot be used: {why}.",
            "Check the [storage] table of the configuration.",
        )

    def _s3(self) -> Any:
        with self._lock:  # making a client is not thread-safe, using it is
            if self._client is None:
                import boto3  # noqa: PLC0415  39 MB that only this store needs
                from botocore.config import Config  # noqa: PLC0415

                config = Config(  # type: ignore[no-untyped-call]
                    connect_timeout=_CONNECT_TIMEOUT_S,
                    read_timeout=self.patience_s,
                    retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
                    signature_version="s3v4",
                    s3={"payload_signing_enabled": True},
                    # The newer checksums are unknown to many servers of others; the signed payload is known to all.
                    request_checksum_calculation="when_required",
                    response_checksum_validation="when_required",
                )
                self._client = boto3.client("s3", config=config, **self._options)  # type: ignore[no-untyped-call]
            return self._client

    def _put(self, key: str, descriptor: int, content_type: str, max_bytes: int) -> Stored:
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415

        with os.fdopen(descriptor, "rb") as source:
            source.seek(0)
            hashing = HashingReader(source, max_bytes)
            extra = {"ContentType": content_type}
            transfer = TransferConfig(  # type: ignore[no-untyped-call]
                use_threads=False, multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES
            )
            self._s3().upload_fileobj(hashing, self.bucket, key, ExtraArgs=extra, Config=transfer)
        there_bytes = self._s3().head_object(Bucket=self.bucket, Key=key)["ContentLength"]
        if there_bytes != hashing.size_bytes:
            raise Unavailable(
                "store",
                f"The bucket {self.bucket} kept {there_bytes} of {hashing.size_bytes} bytes.",
                "it is sent again; look after the store if that does not help",
            )
        return hashing.stored(key)

    def _read(self, location: str, max_bytes: int) -> bytes:
        with self._s3().get_object(Bucket=self.bucket, Key=location)["Body"] as body:
            data: bytes = body.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise TooLarge("The file is larger than allowed.")
        return data

    def _fetch(self, location: str, descriptor: int) -> Stored:
        with (
            os.fdopen(descriptor, "wb") as target,
            self._s3().get_object(Bucket=self.bucket, Key=location)["Body"] as body,
        ):
            return HashingReader(body, sys.maxsize).copy_to(target, location)


def _code_of(error: Exception) -> str:
    """What the server called the mistake, else the kind of the error."""
    response = getattr(error, "response", None)
    said = response.get("Error", {}).get("Code") if isinstance(response, dict) else None
    return str(said or type(error).__name__)
