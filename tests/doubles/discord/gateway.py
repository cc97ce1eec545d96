"""The gateway: HELLO, IDENTIFY, READY, heartbeats, RESUME with what was missed, and connections that break."""

from __future__ import annotations

import asyncio
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import WSMsgType, web

from tests.doubles.discord import objects
from tests.doubles.discord.state import State

DISPATCH, HEARTBEAT, IDENTIFY, RESUME, RECONNECT, INVALID, HELLO, ACK = 0, 1, 2, 6, 7, 9, 10, 11
HEARTBEAT_MS = 41250
_FLUSH = b"\x00\x00\xff\xff"


@dataclass
class Session:
    """What a bot that identified once may come back to: the events since, by their number."""

    id: str
    events: list[str] = field(default_factory=list)
    connection: Connection | None = None


class Connection:
    """One WebSocket; compressed as a stream when the bot asks for it."""

    def __init__(self, socket: web.WebSocketResponse, *, is_compressed: bool) -> None:
        self.socket = socket
        self._zlib = zlib.compressobj() if is_compressed else None
        self._outgoing: asyncio.Queue[str] = asyncio.Queue()

    def put(self, text: str) -> None:
        self._outgoing.put_nowait(text)

    async def pump(self) -> None:
        """Sends what was put, until the socket is closed."""
        while True:
            text = await self._outgoing.get()
            if self.socket.closed:
                return
            if self._zlib is None:
                await self.socket.send_str(text)
            else:
                data = self._zlib.compress(text.encode()) + self._zlib.flush(zlib.Z_SYNC_FLUSH)
                assert data.endswith(_FLUSH)
                await self.socket.send_bytes(data)


class Gateway:
    """All sessions of the bot."""

    def __init__(self, state: Callable[[], State], token: str) -> None:
        self._state = state
        self._token = token
        self.sessions: dict[str, Session] = {}
        self.identified = 0
        self.resumed = 0
        self.refuse_with: int | None = None

    @property
    def is_connected(self) -> bool:
        """Whether a bot listens right now."""
        return any(each.connection is not None for each in self.sessions.values())

    def emit(self, event: str, data: Any) -> None:
        """Sends an event to every session; one that is away gets it when it resumes."""
        for session in self.sessions.values():
            self._dispatch(session, event, data)

    async def drop(self) -> None:
        """Breaks all connections without a word; the sessions stay."""
        for session in self.sessions.values():
            if session.connection is not None:
                transport = session.connection.socket._req.transport if session.connection.socket._req else None
                session.connection = None
                if transport is not None:
                    transport.abort()

    async def reconnect(self) -> None:
        """Asks the bot to come back by itself (op 7), as Discord does before a deploy."""
        for session in self.sessions.values():
            if session.connection is not None:
                session.connection.put(json.dumps({"op": RECONNECT, "d": None}))

    def forget(self) -> None:
        """Sessions cannot be resumed any more."""
        for session in list(self.sessions.values()):
            if session.connection is None:
                del self.sessions[session.id]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One connection, from HELLO to its end."""
        socket = web.WebSocketResponse(compress=False, autoping=True)
        await socket.prepare(request)
        if self.refuse_with:
            await socket.close(code=self.refuse_with)
            return socket
        connection = Connection(socket, is_compressed=request.query.get("compress") == "zlib-stream")
        pump = asyncio.create_task(connection.pump())
        connection.put(json.dumps({"op": HELLO, "d": {"heartbeat_interval": HEARTBEAT_MS, "_trace": []}}))
        session: Session | None = None
        try:
            async for frame in socket:
                if frame.type is WSMsgType.TEXT:
                    session = await self._receive(connection, session, json.loads(frame.data), request)
        finally:
            if session is not None and session.connection is connection:
                session.connection = None
                self._state().changed.set()
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)
        return socket

    async def _receive(
        self, connection: Connection, session: Session | None, message: dict[str, Any], request: web.Request
    ) -> Session | None:
        if message["op"] == HEARTBEAT:
            connection.put(json.dumps({"op": ACK}))
        elif message["op"] == IDENTIFY:
            return await self._identify(connection, message["d"], request)
        elif message["op"] == RESUME:
            return await self._resume(connection, message["d"])
        return session

    async def _identify(self, connection: Connection, data: dict[str, Any], request: web.Request) -> Session | None:
        if data["token"] != self._token:
            await connection.socket.close(code=4004)
            return None
        state, self.identified = self._state(), self.identified + 1
        session = Session(objects.snowflake(), connection=connection)
        self.sessions = {session.id: session}
        ready = {
            "v": 10,
            "user": {**state.bot, "verified": True, "mfa_enabled": True, "email": None, "locale": "en-US"},
            "guilds": [{"id": state.guild_id, "unavailable": True}] if state.bot_is_member else [],
            "session_id": session.id,
            "session_type": "normal",
            "resume_gateway_url": f"ws://{request.host}/gateway",
            "application": {"id": state.bot["id"], "flags": 0},
            "private_channels": [],
            "user_settings": {},
            "relationships": [],
            "presences": [],
            "shard": [0, 1],
            "_trace": [],
        }
        self._dispatch(session, "READY", ready)
        if state.bot_is_member:
            self._dispatch(session, "GUILD_CREATE", state.snapshot())
        state.changed.set()
        return session

    async def _resume(self, connection: Connection, data: dict[str, Any]) -> Session | None:
        session = self.sessions.get(data["session_id"])
        if session is None or data["token"] != self._token or data["seq"] is None:
            connection.put(json.dumps({"op": INVALID, "d": False}))
            return None
        session.connection, self.resumed = connection, self.resumed + 1
        for text in session.events[data["seq"] :]:
            connection.put(text)
        self._dispatch(session, "RESUMED", {"_trace": []})
        self._state().changed.set()
        return session

    def _dispatch(self, session: Session, event: str, data: Any) -> None:
        text = json.dumps({"op": DISPATCH, "t": event, "s": len(session.events) + 1, "d": data})
        session.events.append(text)
        if session.connection is not None:
            session.connection.put(text)
