"""Looks into a request to the model API before it is sent: which model, and nothing that acts on the API's side.

The API's own tools reach the internet from its side, past the egress gateway; files by id or address do the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

# Tools with a type of their own that run on the client. Every other type runs at the API and is refused.
_CLIENT_TOOLS = ("bash_", "computer_", "custom", "memory_", "text_editor_", "tool_search_tool_")
_SOURCES = frozenset({"base64", "text", "content"})
_STANDARD = frozenset({None, "standard"})
# A body of empty lists takes 27 times its size to read, and nothing else runs meanwhile. The longest conversation in
# a window of a million tokens has fewer of these signs, pictures have none.
_STRUCTURE = b"[{,"
_MOST_PARTS = 1_000_000


class Malformed(Exception):
    """The body is not what the API takes."""


class NotAllowed(Exception):
    """The session may not ask for this."""


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What the gateway needs to know of a body."""

    model: str
    stream: bool


def read_request(body: bytes, *, allow_server_tools: bool) -> ModelRequest:
    """Checks a body of `/v1/messages` or `count_tokens`. Raises Malformed, NotAllowed."""
    request = _json_object(body)
    model = request.get("model")
    if not isinstance(model, str) or not model:
        raise Malformed("model: a text is wanted.")
    if request.get("speed") not in _STANDARD:
        raise NotAllowed("Fast mode is not open to this session: its price is another.")
    if not allow_server_tools:
        try:
            _refuse_server_side(request)
        except RecursionError:
            raise Malformed("The body is nested too deeply.") from None
    return ModelRequest(model, request.get("stream") is True)


def _json_object(body: bytes) -> Mapping[str, object]:
    if len(body) - len(body.translate(None, _STRUCTURE)) > _MOST_PARTS:
        raise Malformed("The body has too many parts.")
    try:
        # Not json.loads(bytes), which would guess UTF-16 and 32. Two readers must see one thing, so a key comes once.
        request = json.loads(body.decode("utf-8"), object_pairs_hook=_distinct, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Malformed("The body is not plain JSON.") from None
    if not isinstance(request, dict):
        raise Malformed("The body is not a JSON object.")
    return request


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key twice")
    return members


def _no_constant(name: str) -> object:
    raise ValueError(name)


def _refuse_server_side(request: Mapping[str, object]) -> None:
    if request.get("mcp_servers"):
        raise NotAllowed("MCP servers that the API calls are not open to this session.")
    if request.get("container"):
        raise NotAllowed("Containers at the API are not open to this session.")
    for tool in _objects(request.get("tools")):
        kind = tool.get("type")
        if kind is not None and not (isinstance(kind, str) and kind.startswith(_CLIENT_TOOLS)):
            raise NotAllowed(f"The tool {str(kind)[:60]} runs at the API and is not open to this session.")
    for message in _objects(request.get("messages")):
        _refuse_sources(message.get("content"))
    _refuse_sources(request.get("system"))


def _refuse_sources(content: object) -> None:
    """Looks at content blocks and those inside them; not at a tool's input, which may be anything."""
    for block in _objects(content):
        source = block.get("source")
        if block.get("type") == "container_upload":
            raise NotAllowed("Files at the API are not open to this session.")
        if isinstance(source, dict):
            if source.get("type") not in _SOURCES:
                raise NotAllowed("Only content within the request is open to this session, no address and no file id.")
            _refuse_sources(source.get("content"))
        _refuse_sources(block.get("content"))


def _objects(value: object) -> Iterable[Mapping[str, object]]:
    return (item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()
