"""Tokens for programs and for the browser: who acts through one, and until when. Only its hash is kept."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from uuid import UUID

from sqlalchemy import ColumnElement, or_, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.core.access import Access, Actor
from ccdtasks.core.audit import Audit
from ccdtasks.core.pages import Page, page_size
from ccdtasks.core.text import clean_line
from ccdtasks.db import Database
from ccdtasks.db.models import ApiToken
from ccdtasks.errors import Conflict, Denied, Invalid, NotFound
from ccdtasks.times import Clock

_PREFIX = "ccd_"
_NOTED_EVERY = timedelta(minutes=1)
_NAME_MAX = 100
_USER_MAX = 64
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class MadeToken:
    """A new token. `secret` is what its user enters; it cannot be shown again."""

    secret: str
    token: ApiToken


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who a token lets in, and until when."""

    actor: Actor
    token_id: UUID
    expires_at: datetime | None


class Tokens:
    """The acts on tokens."""

    def __init__(self, db: Database, clock: Clock, access: Access, audit: Audit) -> None:
        self._db = db
        self._clock = clock
        self._access = access
        self._audit = audit

    async def create(
        self,
        actor: Actor,
        name: str,
        *,
        user_id: str | None = None,
        is_admin: bool = False,
        expires_at: datetime | None = None,
    ) -> MadeToken:
        """A token that acts as `user_id` (the actor, when left out). Only admins make them for others."""
        user_id, name = clean_line(user_id or actor.user_id, _USER_MAX + 1), clean_line(name, _NAME_MAX + 1)
        if not name or len(name) > _NAME_MAX:
            raise Invalid("name", f"A token needs a name of 1 to {_NAME_MAX} characters.", "say what it is for")
        if not (user_id.isdecimal() or user_id == "shell") or len(user_id) > _USER_MAX:
            raise Invalid("user", "That is not a Discord user id.", "in Discord: right-click on a name, Copy User ID")
        if expires_at is not None and expires_at <= self._clock.now():
            raise Invalid("expires", "That time has passed already.")
        self._access.require_owner(actor, user_id, "make a token for them")
        if is_admin and not self._access.is_admin(actor):
            raise Denied("Only an admin can make a token that may do everything.")
        secret = _PREFIX + secrets.token_urlsafe(32)
        async with self._db.write() as session:
            token = ApiToken(
                name=name,
                user_id=user_id,
                token_hash=_hash(secret),
                is_admin=is_admin,
                created_at=self._clock.now(),
                expires_at=expires_at,
            )
            session.add(token)
            await session.flush()
            self._audit.record(session, actor, "token.create", token.id, {"name": name, "user": user_id})
        return MadeToken(secret, token)

    async def page(self, actor: Actor, after: str | None = None, limit: int = 50) -> Page[ApiToken]:
        """The actor's tokens, for admins everybody's, the newest first; revoked and expired ones too."""
        self._access.require_use(actor)
        size = page_size(limit)
        query = select(ApiToken).order_by(ApiToken.created_at.desc(), ApiToken.id.desc()).limit(size + 1)
        if not self._access.is_admin(actor):
            query = query.where(ApiToken.user_id == actor.user_id)
        async with self._db.read() as session:
            if after is not None:
                last = await self._named(session, actor, after)
                query = query.where(tuple_(ApiToken.created_at, ApiToken.id) < (last.created_at, last.id))
            rows = (await session.scalars(query)).all()
        return Page(rows[:size], str(rows[size - 1].id) if len(rows) > size else None)

    async def revoke(self, actor: Actor, name_or_id: str) -> ApiToken:
        """Ends a token, and each browser session that it opened, at once."""
        self._access.require_use(actor)
        async with self._db.write() as session:
            token = await self._named(session, actor, name_or_id)
            if token.revoked_at is not None:
                raise Conflict(f"The token {token.name} was revoked already.")
            token.revoked_at = self._clock.now()
            self._audit.record(session, actor, "token.revoke", token.id, {"name": token.name})
        return token

    async def visitor(self, secret: str) -> Visitor | None:
        """Whom this token lets in; None for one that is unknown, expired or revoked."""
        if not (secret.startswith(_PREFIX) and secret.isascii()) or len(secret) > _LONGEST:
            return None
        return await self._visitor(ApiToken.token_hash == _hash(secret))

    async def visitor_by_id(self, token_id: UUID) -> Visitor | None:
        """The same for a browser that showed the token before."""
        return await self._visitor(ApiToken.id == token_id)

    async def _visitor(self, is_it: ColumnElement[bool]) -> Visitor | None:
        now = self._clock.now()
        async with self._db.read() as session:
            token = await session.scalar(select(ApiToken).where(is_it))
        if token is None or token.revoked_at is not None or (token.expires_at is not None and token.expires_at <= now):
            return None
        if token.last_used_at is None or token.last_used_at <= now - _NOTED_EVERY:
            await self._note_use(token.id, now)
        actor = Actor(token.user_id, "api", is_admin=token.is_admin)
        return Visitor(actor, token.id, token.expires_at)

    async def _note_use(self, token_id: UUID, now: datetime) -> None:
        unused = or_(ApiToken.last_used_at.is_(None), ApiToken.last_used_at <= now - _NOTED_EVERY)
        async with self._db.write() as session:
            await session.execute(update(ApiToken).where(ApiToken.id == token_id, unused).values(last_used_at=now))

    async def _named(self, session: AsyncSession, actor: Actor, name_or_id: str) -> ApiToken:
        query = select(ApiToken).order_by(ApiToken.created_at.desc())
        if not self._access.is_admin(actor):
            query = query.where(ApiToken.user_id == actor.user_id)
        wanted = name_or_id.strip()
        by_id = _uuid(wanted)
        found: Sequence[ApiToken] = (
            await session.scalars(query.where(ApiToken.id == by_id if by_id else ApiToken.name == wanted))
        ).all()
        live = [token for token in found if token.revoked_at is None] or found[:1]
        if not live:
            raise NotFound(f"There is no token `{clean_line(wanted, 80)}`.", "ccdtasks token list")
        if len(live) > 1:
            listed = ", ".join(str(token.id) for token in live[:5])
            raise Conflict(f"{len(live)} tokens are named {live[0].name}.", f"name one by its id: {listed}")
        return live[0]


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()  # 256 random bits need no slow hash


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
