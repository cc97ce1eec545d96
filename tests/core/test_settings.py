"""A person's own settings: keys that are never kept as they are, priorities, events, the timezone."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from ccdtasks.config import Config, PushoverConfig
from ccdtasks.core import Core
from ccdtasks.core.phone.settings import read_events
from ccdtasks.errors import Conflict, Denied, Invalid, Unavailable
from tests.people import ADMIN, ANN, BOB

KEY = "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"


@pytest.fixture
def config(config: Config) -> Config:
    return config.model_copy(update={"pushover": PushoverConfig(token=SecretStr("t" * 30))})


async def known(_key: str) -> Sequence[str]:
    return ("iphone",)


async def unknown(_key: str) -> Sequence[str]:
    raise Invalid("key", "Pushover knows no active user of that key.")


async def away(_key: str) -> Sequence[str]:
    raise Unavailable("pushover", "Pushover does not answer.")


async def _everything(core: Core) -> str:
    """Every row of every table, as text."""
    async with core.db.read() as session:
        if core.db.is_sqlite:
            query = "SELECT name FROM sqlite_master WHERE type = 'table'"
        else:
            query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        names = list(await session.scalars(text(query)))
        rows = [(await session.execute(text(f'SELECT * FROM "{name}"'))).all() for name in names]  # noqa: S608
        return str(rows)


async def test_a_key_is_checked_shown_masked_and_never_kept_as_it_is(
    core: Core, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    kept = await core.settings.set_key(ANN, f" {KEY}\n", known)
    assert (kept.masked_key, kept.devices) == ("•••• VRsG", ("iphone",))
    shown = await core.settings.show(ANN)
    assert (shown.masked_key, shown.events, shown.priority) == ("•••• VRsG", ("error", "intervention"), 0)
    stored = await _everything(core)
    assert "settings.pushover_key" in stored, "who set it is on record"
    assert KEY not in stored + caplog.text
    assert (await core.settings.show(BOB)).masked_key is None


@pytest.mark.parametrize("key", ["", "short", "x" * 31, KEY[:-1] + "!", f"{KEY} {KEY}"])
async def test_what_is_no_key_is_not_even_asked_about(core: Core, key: str) -> None:
    async def never(_key: str) -> Sequence[str]:
        raise AssertionError

    with pytest.raises(Invalid, match="30 letters and digits") as refusal:
        await core.settings.set_key(ANN, key, never)
    assert refusal.value.field == "key"
    assert not key.strip() or key.strip() not in str(refusal.value)


async def test_a_key_that_pushover_does_not_confirm_changes_nothing(core: Core) -> None:
    await core.settings.set_key(ANN, KEY, known)
    for check in (unknown, away):
        with pytest.raises((Invalid, Unavailable)):
            await core.settings.set_key(ANN, "z" * 30, check)
    assert (await core.settings.show(ANN)).masked_key == "•••• VRsG"


async def test_without_a_token_nobody_can_give_a_key(core: Core) -> None:
    object.__setattr__(core.settings, "_config", Config())
    with pytest.raises(Conflict, match="not set up"):
        await core.settings.set_key(ANN, KEY, known)
    assert not (await core.settings.show(ANN)).is_offered


async def test_priorities_sounds_and_how_an_emergency_rings(core: Core) -> None:
    found = await core.settings.set_priority(ANN, 2, sound="siren", retry_s=30, expire_s=10_800)
    assert (found.priority, found.sound, found.retry_s, found.expire_s) == (2, "siren", 30, 10_800)
    found = await core.settings.set_priority(ANN, -2, sound="default")
    assert (found.priority, found.sound, found.retry_s) == (-2, None, 30)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"priority": 3}, "level"),
        ({"priority": -3}, "level"),
        ({"priority": 2, "retry_s": 29}, "retry"),
        ({"priority": 2, "expire_s": 10_801}, "expire"),
        ({"priority": 0, "sound": "a sound?"}, "sound"),
    ],
)
async def test_what_pushover_would_refuse_is_refused_here(core: Core, wrong: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid) as refusal:
        await core.settings.set_priority(ANN, **wrong)  # type: ignore[arg-type]
    assert refusal.value.field == field


@pytest.mark.parametrize(
    ("typed", "chosen"),
    [
        ("complete", ("complete",)),
        ("Intervention, error", ("error", "intervention")),
        ("complete error  intervention error", ("complete", "error", "intervention")),
        ("all", ("complete", "error", "intervention")),
        ("none", ()),
    ],
)
async def test_events_are_words_in_any_order(core: Core, typed: str, chosen: tuple[str, ...]) -> None:
    assert (await core.settings.notify_on(ANN, typed)).events == chosen
    assert (await core.settings.show(ANN)).events == chosen


@pytest.mark.parametrize("typed", ["", "errors", "complete none", "<@1>"])
def test_odd_events_are_named(typed: str) -> None:
    with pytest.raises(Invalid, match="event") as refusal:
        read_events(typed)
    assert refusal.value.field == "events"


async def test_switching_off_forgets_the_key_and_keeps_the_rest(core: Core) -> None:
    await core.settings.set_key(ANN, KEY, known)
    await core.settings.set_priority(ANN, 1, sound="bike")
    off = await core.settings.disable(ANN)
    assert (off.masked_key, off.priority, off.sound) == (None, 1, "bike")
    with pytest.raises(Conflict, match="off already"):
        await core.settings.disable(ANN)
    assert "pushover_hash" not in await _everything(core)


async def test_only_an_admin_changes_the_settings_of_others(core: Core) -> None:
    with pytest.raises(Denied):
        await core.settings.notify_on(BOB, "all", ANN.user_id)
    with pytest.raises(Denied):
        await core.settings.show(BOB, ANN.user_id)
    await core.settings.notify_on(ADMIN, "all", ANN.user_id)
    assert (await core.settings.show(ANN)).events == ("complete", "error", "intervention")


async def test_the_timezone_is_that_of_schedules_that_name_none(core: Core) -> None:
    assert (await core.settings.set_timezone(ANN, "europe/berlin")).timezone == "Europe/Berlin"
    with pytest.raises(Invalid):
        await core.settings.set_timezone(ANN, "Atlantis")
    assert (await core.settings.show(ANN)).timezone == "Europe/Berlin"
