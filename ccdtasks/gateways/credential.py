"""The credential for the model API: the real one stays here, sessions get a dummy of the same kind."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from typing import Literal

from multidict import CIMultiDict, CIMultiDictProxy

_OAUTH_BETA = "oauth-2025-04-20"
_CREDENTIAL_HEADERS = ("x-api-key", "authorization", "cookie", "proxy-authorization")


@dataclass(frozen=True, slots=True)
class Credential:
    """An API key (`sk-ant-api03-...`) or a subscription's token (`sk-ant-oat01-...`)."""

    kind: Literal["api_key", "oauth_token"]
    secret: str = field(repr=False)

    def dummy(self) -> str:
        """A new worthless credential of the same kind and shape: the CLI behaves by what it is given."""
        prefix = "sk-ant-api03-" if self.kind == "api_key" else "sk-ant-oat01-"
        return f"{prefix}{secrets.token_urlsafe(69)[:91]}-wAA"


def shows_dummy(headers: CIMultiDictProxy[str], dummy: str) -> bool:
    """True if every credential in the request is the session's dummy, and there is one."""
    shown = headers.getall("x-api-key", [])
    for value in headers.getall("authorization", []):
        scheme, _, token = value.partition(" ")
        shown.append(token.strip() if scheme.lower() == "bearer" else "")
    return bool(shown) and all(hmac.compare_digest(_bytes(value), _bytes(dummy)) for value in shown)


def _bytes(value: str) -> bytes:
    return value.encode(errors="surrogateescape")  # as aiohttp decodes headers


def set_credential(headers: CIMultiDict[str], credential: Credential) -> None:
    """Puts the real credential in the place of any other, and the beta that its kind needs."""
    for name in _CREDENTIAL_HEADERS:
        headers.popall(name, None)
    if credential.kind == "api_key":
        headers["x-api-key"] = credential.secret
    else:
        headers["Authorization"] = f"Bearer {credential.secret}"
    _set_oauth_beta(headers, wanted=credential.kind == "oauth_token")


def _set_oauth_beta(headers: CIMultiDict[str], *, wanted: bool) -> None:
    betas = [beta.strip() for value in headers.getall("anthropic-beta", []) for beta in value.split(",")]
    if (_OAUTH_BETA in betas) == wanted:
        return
    betas = [*betas, _OAUTH_BETA] if wanted else [beta for beta in betas if beta != _OAUTH_BETA]
    headers.popall("anthropic-beta", None)
    if betas:
        headers["anthropic-beta"] = ",".join(betas)
