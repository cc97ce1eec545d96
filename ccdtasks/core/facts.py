"""Facts about this database that outlive the process: its id, what was synced, and why the queue is held."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import uuid4

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from ccdtasks.config import ClaudeConfig
from ccdtasks.db import Database
from ccdtasks.db.models import InstanceFact
from ccdtasks.times import Clock

MODEL_AUTH = "model_auth"
"""The hold on the whole queue while the model refuses our credential."""

USAGE_LIMIT = "usage_limit"
"""The hold until the model's usage limit is lifted."""

MEMORY = "memory"
"""The hold while the machine has too little free memory for one more session; the dispatcher sets and lifts it."""

_HOLD = "hold:"


@dataclass(frozen=True, slots=True)
class Hold:
    """Why no run starts: `name` (model_auth, ...), plain words, since when, and until when if that is known."""

    name: str
    message: str
    since: datetime
    fingerprint: str | None = None
    until: datetime | None = None


class Facts:
    """Names and values, and the holds among them."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock

    async def get(self, name: str) -> str | None:
        """The value of a fact, or None."""
        async with self._db.read() as session:
            fact = await session.get(InstanceFact, name)
            return fact.value if fact else None

    async def set(self, name: str, value: str) -> None:
        """Stores a fact."""
        async with self._db.write() as session:
            await self.put(session, name, value)

    async def put(self, session: AsyncSession, name: str, value: str) -> None:
        """Stores a fact in the caller's transaction."""
        await session.merge(InstanceFact(name=name, value=value, updated_at=self._clock.now()))

    async def instance_id(self) -> str:
        """The id of this instance: made once, and a label on each of its containers."""
        known = await self.get("instance_id")
        if known:
            return known
        async with self._db.write() as session:
            fact = await session.get(InstanceFact, "instance_id")
            if fact is None:
                fact = InstanceFact(name="instance_id", value=uuid4().hex, updated_at=self._clock.now())
                session.add(fact)
            return fact.value

    async def holds(self) -> dict[str, Hold]:
        """Every hold that lasts, by name; a run starts only when there is none."""
        async with self._db.read() as session:
            return await self.holds_in(session)

    async def holds_in(self, session: AsyncSession) -> dict[str, Hold]:
        """The holds as the caller's transaction sees them."""
        facts = await session.scalars(select(InstanceFact).where(InstanceFact.name.like(f"{_HOLD}%")))
        now = self._clock.now()
        return {hold.name: hold for hold in map(_read_hold, facts) if hold.until is None or hold.until > now}

    async def hold(
        self,
        session: AsyncSession,
        name: str,
        message: str,
        fingerprint: str | None = None,
        until: datetime | None = None,
    ) -> bool:
        """Holds the queue, in the caller's transaction; False when it was held already (so one alert is enough).

        With `until` it ends by itself; one that lasts is made longer, never shorter.
        """
        held = (await self.holds_in(session)).get(name)
        if held is not None and (until is None or held.until is None or until <= held.until):
            return False
        since = held.since if held else self._clock.now()
        data = {
            "message": message,
            "since": since.isoformat(),
            "fingerprint": fingerprint,
            "until": until.isoformat() if until else None,
        }
        await self.put(session, _HOLD + name, json.dumps(data))
        return held is None

    async def release(self, name: str) -> bool:
        """Lets the queue go on; False when it was not held."""
        async with self._db.write() as session:
            held = await session.get(InstanceFact, _HOLD + name) is not None
            await session.execute(delete(InstanceFact).where(InstanceFact.name == _HOLD + name))
            return held

    async def release_if_changed(self, name: str, fingerprint: str) -> bool:
        """Lets the queue go on when the hold was about another credential than the present one."""
        hold = (await self.holds()).get(name)
        if hold is None or hold.fingerprint == fingerprint:
            return False
        return await self.release(name)


def credential_fingerprint(claude: ClaudeConfig) -> str:
    """Tells one model credential from another without giving it away."""
    secret = claude.oauth_token or claude.api_key
    text = secret.get_secret_value() if secret else ""
    return sha256(f"ccdtasks:{claude.base_url}:{text}".encode()).hexdigest()[:16]


def _read_hold(fact: InstanceFact) -> Hold:
    data = json.loads(fact.value)
    since, until = datetime.fromisoformat(data["since"]), data.get("until")
    return Hold(
        name=fact.name.removeprefix(_HOLD),
        message=data["message"],
        since=since,
        fingerprint=data["fingerprint"],
        until=datetime.fromisoformat(until) if until else None,
    )
