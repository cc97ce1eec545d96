"""A question to the model's API that costs nothing: whether it takes the credential at all."""

from __future__ import annotations

from aiohttp import ClientSession, ClientTimeout
from multidict import CIMultiDict

from ccdtasks.gateways.credential import Credential, set_credential

_TIMEOUT = ClientTimeout(total=20)
_VERSION = "2023-06-01"


async def count_one_word(base_url: str, credential: Credential, model: str) -> int:
    """The HTTP status with which the API counts the tokens of one word: free, and 200 only with a good credential.

    Raises what aiohttp raises when it cannot be reached.
    """
    headers = CIMultiDict({"anthropic-version": _VERSION})
    set_credential(headers, credential)
    body = {"model": model, "messages": [{"role": "user", "content": "hello"}]}
    url = f"{base_url.rstrip('/')}/v1/messages/count_tokens"
    async with ClientSession(timeout=_TIMEOUT) as session, session.post(url, json=body, headers=headers) as response:
        return response.status
