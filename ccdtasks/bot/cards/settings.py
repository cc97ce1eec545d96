"""A person's own settings, and what came of a change or a test."""

from __future__ import annotations

from ccdtasks.amounts import listed
from ccdtasks.bot import text
from ccdtasks.bot.cards.card import Card, join
from ccdtasks.bot.cards.status import AMBER, BLUE, GREEN, GREY, RED
from ccdtasks.core.phone.pushes import EMERGENCY
from ccdtasks.core.phone.settings import PRIORITIES, Preferences
from ccdtasks.db.models import PushoverNotification
from ccdtasks.times import duration_text

_WORDS = {"complete": "results", "error": "final failures", "intervention": "runs that need you"}


def shown(found: Preferences) -> Card:
    """All settings."""
    timezone = text.plain(found.timezone, 60) if found.timezone else "that of the server: /settings timezone"
    return Card(title="Your settings", body=join(_push_lines(found), f"Timezone: {timezone}"), colour=BLUE)


def key_set(found: Preferences) -> Card:
    """The key is checked and kept."""
    devices = listed([text.plain(device, 25) for device in found.devices]) or "no device by name"
    body = join(
        f"Pushover knows it: {devices}. It is kept encrypted, and shown to nobody.",
        _called_for(found),
        "Try it: /settings pushover-test",
    )
    return Card(title="✓ Your phone is connected", body=body, colour=GREEN)


def priority_set(found: Preferences) -> Card:
    """How loud from now on."""
    return Card(title=f"✓ Priority {found.priority}", body=_loudness(found), colour=GREEN)


def events_set(found: Preferences) -> Card:
    """What for from now on."""
    return Card(title="✓ Chosen", body=join(_called_for(found), _lacks_key(found)), colour=GREEN)


def disabled(_found: Preferences) -> Card:
    """No pushes any more."""
    body = "Your key is deleted; nothing more goes to your phone. Discord goes on as before."
    return Card(title="■ Pushes are off", body=body, colour=GREY)


def timezone_set(found: Preferences) -> Card:
    """Whose clock from now on."""
    body = "New schedules that name no timezone follow this clock; existing ones stay as they are."
    return Card(title=f"✓ {text.plain(found.timezone, 60)}", body=body, colour=GREEN)


def tested(push: PushoverNotification) -> Card:
    """What came of a test."""
    if push.success:
        return Card(title="✓ Sent", body="Pushover has taken it. Your phone should show it now.", colour=GREEN)
    why = text.plain(push.last_error or "Pushover has not answered yet.", 500)
    if push.success is None:
        return Card(title="✕ Not sent yet", body=join(why, "It is tried again by itself.", gap=" "), colour=AMBER)
    return Card(title="✕ Not sent", body=join(why, "/settings show says what is set.", gap=" "), colour=RED)


def _push_lines(found: Preferences) -> str:
    if not found.is_offered:
        return "Pushes to phones are not set up on this server."
    if found.masked_key is None:
        return "Pushes: off. /settings pushover-key connects your phone."
    state = "**Pushover does not know this key any more: set it again**" if found.refused else "on"
    return join(f"Pushes: {state}, key {found.masked_key}", _called_for(found), _loudness(found), gap="\n")


def _called_for(found: Preferences) -> str:
    words = listed([_WORDS[event] for event in found.events])
    return f"You are called for {words}." if words else "You are not called for anything."


def _loudness(found: Preferences) -> str:
    words = f"Priority {found.priority}: {PRIORITIES[found.priority].partition(': ')[2] or 'normal'}."
    sound = f"Sound: {text.plain(found.sound, 20)}." if found.sound else "Sound: as chosen on your phone."
    if found.priority != EMERGENCY:
        return f"{words} {sound}"
    rings = (
        f"It rings every {duration_text(found.retry_s)} until you confirm it, {duration_text(found.expire_s)} at most."
    )
    return join(f"{words} {sound}", rings, "Results come as high priority: there is nothing to confirm.", gap=" ")


def _lacks_key(found: Preferences) -> str:
    return "" if found.masked_key or not found.is_offered else "Your phone is not connected yet: /settings pushover-key"
