"""Artifacts in a bucket of any S3 endpoint, through boto3 in an executor of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ccdtasks.adapters.storage import THREADS, HashingReader, Stored, TooLarge
from ccdtasks.errors import NotFound, Unavailable

_CONNECT_TIMEOUT_S = 5
_READ_TIMEOUT_S = 60

T = TypeVar("T")


class S3Store:
    """Artifacts in a bucket; a location is the object's key."""

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
        self._executor = ThreadPoolExecutor(THREADS, thread_name_prefix="store")
        self._lock = threading.Lock()
        self._client: Any = None

    async def put(self, key: str, descriptor: int, *, content_type: str, max_bytes: int) -> Stored:
        """Uploads an open file (the descriptor stays open) to `key`; visible only when complete."""
        return await self._run(self._put, key, os.dup(descriptor), content_type, max_bytes)

    async def read(self, location: str, max_bytes: int) -> bytes:
        """The whole artifact, or `TooLarge`."""
        return await self._run(self._read, location, max_bytes)

    async def delete(self, location: str) -> None:
        """Removes it; absent is success."""
        await self._run(lambda: self._s3().delete_object(Bucket=self.bucket, Key=location))

    async def link(self, location: str, *, name: str, ttl_s: int) -> str | None:
        """A signed link that downloads the artifact as `name` and expires after `ttl_s`."""
        quoted = name.replace("\\", "_").replace('"', "_")
        params = {
            "Bucket": self.bucket,
            "Key": location,
            "ResponseContentDisposition": f'attachment; filename="{quoted}"',
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
        except TooLarge:
            raise
        except OSError as error:
            raise self._unavailable(error) from error
        except Exception as error:
            code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
            if code in ("NoSuchKey", "404"):
                raise NotFound("That file is no longer in the store.") from None
            if type(error).__module__.startswith(("botocore", "boto3", "s3transfer")):
                raise self._unavailable(error) from error
            raise

    def _unavailable(self, error: Exception) -> Unavailable:
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "") or type(error).__name__
        return Unavailable(
            "store",
            f"The bucket {self.bucket} cannot be used: {code}.",
            "Check the [storage] table of the configuration.",
        )

    def _s3(self) -> Any:
        with self._lock:  # making a client is not thread-safe, using it is
            if self._client is None:
                import boto3  # noqa: PLC0415  39 MB that only this store needs
                from botocore.config import Config  # noqa: PLC0415

                retries = {"mode": "standard", "max_attempts": 3}
                config = Config(  # type: ignore[no-untyped-call]
                    connect_timeout=_CONNECT_TIMEOUT_S, read_timeout=_READ_TIMEOUT_S, retries=retries
                )
                self._client = boto3.client("s3", config=config, **self._options)  # type: ignore[no-untyped-call]
            return self._client

    def _put(self, key: str, descriptor: int, content_type: str, max_bytes: int) -> Stored:
        from boto3.s3.transfer import TransferConfig  # noqa: PLC0415

        with os.fdopen(descriptor, "rb") as source:
            source.seek(0)
            hashing = HashingReader(source, max_bytes)
            extra = {"ContentType": content_type}
            transfer = TransferConfig(use_threads=False)  # type: ignore[no-untyped-call]
            self._s3().upload_fileobj(hashing, self.bucket, key, ExtraArgs=extra, Config=transfer)
            return hashing.stored(key)

    def _read(self, location: str, max_bytes: int) -> bytes:
        with self._s3().get_object(Bucket=self.bucket, Key=location)["Body"] as body:
            data: bytes = body.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise TooLarge("The file is larger than allowed.")
        return data
