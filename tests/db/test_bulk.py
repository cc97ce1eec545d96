"""Many rows at once are the same rows as one by one, whatever is in them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError, IntegrityError

from ccdtasks.db import Database
from ccdtasks.db.bulk import Insert, Update, among, write_rows
from ccdtasks.db.enums import Delivery, MessageType
from ccdtasks.db.models import DiscordMessage, InstanceFact

AT = datetime(2026, 1, 17, 15, 30, 0, 123456, tzinfo=UTC)
SAME = {"message_type": MessageType.LIVE_CARD, "nonce": "n", "created_at": AT}
PAYLOADS: list[dict[str, Any]] = [
    {},
    {"quotes": "'\"\\ {a,b} NULL", "deep": [1, None, {"é": "日本"}]},
    {"text": "$1 ?1 :a\n"},
]


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url)
    yield database
    await database.close()


def _rows() -> list[dict[str, Any]]:
    return [
        {
            "id": uuid4(),
            "lane": uuid4(),
            "key": f"k{at}",
            "payload": payload,
            "position": 2**40 + at,
            "sent_at": sent_at,
        }
        for at, (payload, sent_at) in enumerate(zip(PAYLOADS, (None, AT, None), strict=True))
    ]


async def _read(db: Database) -> list[DiscordMessage]:
    async with db.read() as session:
        return list(await session.scalars(select(DiscordMessage).order_by(DiscordMessage.position)))


async def _insert(db: Database, rows: list[dict[str, Any]]) -> None:
    async with db.write() as session:
        await write_rows(session, Insert(DiscordMessage, rows, SAME))


async def test_rows_come_back_as_they_were_given(db: Database) -> None:
    rows = _rows()
    await _insert(db, rows)
    found = await _read(db)
    assert [{name: getattr(row, name) for name in rows[0]} for row in found] == rows
    first = found[0]
    assert (first.message_type, first.nonce, first.created_at) == (MessageType.LIVE_CARD, "n", AT)
    assert (first.revision, first.attempts, first.state) == (1, 0, Delivery.PENDING)  # the model's defaults
    assert (first.task_id, first.embeds) == (None, None)


async def test_rows_are_changed_each_in_its_own_way(db: Database) -> None:
    rows = _rows()
    await _insert(db, rows)
    changes = [{"id": row["id"], "key": f"new {row['key']}", "sent_at": None} for row in rows[:2]]
    async with db.write() as session:
        await write_rows(session, Update(DiscordMessage, changes, {"attempts": 3}))
    found = await _read(db)
    assert [(row.key, row.sent_at, row.attempts) for row in found] == [
        ("new k0", None, 3),
        ("new k1", None, 3),
        ("k2", None, 0),
    ]


async def test_changes_of_several_tables_are_made_together(db: Database) -> None:
    old, new = _rows(), [{**row, "id": uuid4(), "lane": uuid4(), "key": "later"} for row in _rows()[:1]]
    await _insert(db, old)
    facts = [{"name": "one", "value": "1"}, {"name": "two", "value": "2"}]
    moved = [{"id": old[0]["id"], "key": "moved"}]
    async with db.write() as session:
        await write_rows(
            session,
            Insert(InstanceFact, facts),
            Insert(DiscordMessage, []),
            Insert(DiscordMessage, new, SAME),
            Update(DiscordMessage, moved),
        )
    assert sorted(row.key for row in await _read(db)) == ["k1", "k2", "later", "moved"]
    async with db.read() as session:
        assert {fact.name: fact.value for fact in await session.scalars(select(InstanceFact))} == {
            "one": "1",
            "two": "2",
        }


async def test_where_one_change_fails_none_is_made(db: Database) -> None:
    facts = [{"name": "one", "value": "1"}]
    rows = _rows()
    with pytest.raises(IntegrityError):
        async with db.write() as session:
            await write_rows(session, Insert(InstanceFact, facts), Insert(DiscordMessage, [*rows, rows[0]], SAME))
    async with db.read() as session:
        assert (await session.scalars(select(InstanceFact))).all() == []


async def test_rows_are_found_by_a_list_of_ids(db: Database) -> None:
    rows = _rows()
    await _insert(db, rows)
    query = select(DiscordMessage.key).where(among(DiscordMessage.id, "ids")).order_by(DiscordMessage.key)
    for wanted in ([], [0], [0, 2]):
        async with db.read() as session:
            found = await session.scalars(query, {"ids": [rows[at]["id"] for at in wanted] + [uuid4()]})
            assert list(found) == [f"k{at}" for at in wanted]


async def test_one_bad_row_leaves_none(db: Database) -> None:
    rows = _rows()
    with pytest.raises(IntegrityError):
        await _insert(db, [*rows, rows[0]])
    assert await _read(db) == []


async def test_what_is_too_long_is_refused_and_not_cut(db: Database) -> None:
    if not db.is_sqlite:  # which has no such limits
        with pytest.raises(DBAPIError):
            await _insert(db, [{**row, "key": "k" * 101} for row in _rows()[:1]])


async def test_no_rows_are_no_statement(db: Database) -> None:
    await _insert(db, [])
    async with db.write() as session:
        await write_rows(session, Update(DiscordMessage, [], {"attempts": 3}))
    assert await _read(db) == []


async def test_a_name_that_the_model_does_not_have_is_a_mistake(db: Database) -> None:
    with pytest.raises(KeyError):
        await _insert(db, [{**row, "colour": "red"} for row in _rows()])
