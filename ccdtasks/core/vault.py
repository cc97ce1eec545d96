"""Secrets of this instance: what it signs, and what it keeps encrypted. One key, in a file that only its user reads.

<data_dir>/secret.key --derive--> a signing key for each purpose --> links, sessions
                      \\-derive--> the encryption key             --> what users entrust to us, such as push keys
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
import stat
import struct
from datetime import datetime
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from ccdtasks.errors import Denied, Unavailable

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

KEY_FILE = "secret.key"
_KEY_BYTES = 32
_HEAD = struct.Struct(">Q")  # when it expires, in seconds since 1970
_MAC_BYTES = 32
_LONGEST_TOKEN = 4096
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class BadLink(Denied):
    """Signed by nobody here, for something else, or changed on the way."""

    code = "bad_link"


class ExpiredLink(Denied):
    """Signed by us, but its time is over."""

    code = "expired_link"


class Vault:
    """Signs and encrypts with the key of the file `path`, which is made when it is needed first."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def check(self) -> None:
        """Reads the key, or makes it. Raises `Unavailable("secret_key")` when it cannot be used as it lies there."""
        _ = self._key

    def sign(self, purpose: str, payload: str, expires_at: datetime) -> str:
        """A token, fit for an address, that gives `payload` back to `read` for the same purpose until it expires."""
        body = _HEAD.pack(int(expires_at.timestamp())) + payload.encode()
        return _to_text(body + self._mac(purpose, body))

    def read(self, purpose: str, token: str, now: datetime) -> str:
        """What was signed. Raises ExpiredLink, or BadLink for everything that is not a token for this purpose."""
        data = _from_text(token[: _LONGEST_TOKEN + 1]) if len(token) <= _LONGEST_TOKEN else b""
        body, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
        if len(body) < _HEAD.size or not hmac.compare_digest(mac, self._mac(purpose, body)):
            raise BadLink("This link is not valid here.", "open it again from where you got it")
        if _HEAD.unpack_from(body)[0] <= now.timestamp():
            raise ExpiredLink("This link has expired.", "ask for a new one where you got it")
        return body[_HEAD.size :].decode()

    def encrypt(self, text: str) -> str:
        """`text` as only this instance can read it again."""
        return self._fernet.encrypt(text.encode()).decode()

    def decrypt(self, text: str) -> str:
        """What `encrypt` was given. Raises `Unavailable("secret_key")` when another key encrypted it."""
        from cryptography.fernet import InvalidToken  # noqa: PLC0415  with its class

        try:
            return self._fernet.decrypt(text.encode()).decode()
        except InvalidToken:
            message = f"This was encrypted with another key than the one in {self._path}."
            raise Unavailable("secret_key", message, "put the key file of that time back, or enter it again") from None

    @cached_property
    def _key(self) -> bytes:
        try:
            if not self._path.exists():
                _make(self._path)
            return self._read_key()
        except OSError as error:
            raise Unavailable(
                "secret_key",
                f"The key file {self._path} cannot be read: {error.strerror}.",
                "check who owns it: it must be the user who runs ccdtasks",
            ) from error

    def _read_key(self) -> bytes:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise Unavailable("secret_key", f"{self._path} is not a file.", "move it away: a new key is made")
            if mode & _OTHERS:
                message = f"Other users of this machine can read the key file {self._path}."
                raise Unavailable("secret_key", message, f"chmod 600 {self._path}")
            key = os.read(descriptor, _KEY_BYTES + 1)
        finally:
            os.close(descriptor)
        if len(key) != _KEY_BYTES:
            raise Unavailable(
                "secret_key",
                f"The key file {self._path} is damaged.",
                "put it back from a backup; without one move it away, and links and push keys must be made anew",
            )
        return key

    def _derived(self, use: str) -> bytes:
        return hmac.digest(self._key, f"ccdtasks:{use}".encode(), sha256)

    def _mac(self, purpose: str, body: bytes) -> bytes:
        return hmac.digest(self._derived(f"sign:{purpose}"), body, sha256)

    @cached_property
    def _fernet(self) -> Fernet:
        from cryptography.fernet import Fernet  # noqa: PLC0415  11 MB that few processes need

        return Fernet(base64.urlsafe_b64encode(self._derived("encrypt")))


def _make(path: Path) -> None:
    """A new key, whole or not at all; of two processes at once, the first one's counts."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(part, path)
    except FileExistsError:
        return
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _to_text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_text(text: str) -> bytes:
    """The bytes of a token; none of what is not one, also of one that is written in another way than ours."""
    try:
        data = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if _to_text(data) == text else b""
