"""What every table shares: names of constraints, ids made by us, times."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

from sqlalchemy import MetaData, Uuid
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ccdtasks.db.types import UtcDateTime

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The declarative base; its naming convention keeps migrations possible on both dialects."""

    metadata = MetaData(naming_convention=NAMES)


def utc_now() -> datetime:
    """The default of audit columns; rules take their time from the clock that they are handed."""
    return datetime.now(UTC)


class HasId:
    """A random id, made here and not by the database, so that rows can be inserted in one batch."""

    id: Mapped[UUID] = mapped_column(Uuid, primary_key=True, default=uuid4)


class HasTimes:
    """When a row was made and last changed."""

    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, onupdate=utc_now)
