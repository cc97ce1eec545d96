"""The one server of the double: its channels, threads, messages, people and commands, and the rules about them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import Any

from tests.doubles.discord import objects
from tests.doubles.discord.objects import CATEGORY, DM, PUBLIC_THREAD, TEXT, Json

ALL_PERMISSIONS = (1 << 53) - 1
CHANNELS, CHANNELS_PER_CATEGORY, THREADS = 500, 50, 1000
FILE_BYTES, REQUEST_BYTES = 10 * 1024 * 1024, 25 * 1024 * 1024
RENAMES, RENAME_WINDOW_S = 2, 600.0
_READ_HISTORY = 1 << 16
_ADMINISTRATOR, _MANAGE_CHANNELS, _VIEW, _SEND = 1 << 3, 1 << 4, 1 << 10, 1 << 11
_MANAGE_THREADS, _PUBLIC_THREADS, _SEND_IN_THREADS = 1 << 34, 1 << 35, 1 << 38


class Refusal(Exception):
    """An error answer of Discord."""

    def __init__(self, status: int, code: int, message: str, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"message": message, "code": code, **more}


class State:
    """What Discord knows. Each change is told to `emit(event, data)` and wakes `changed`."""

    def __init__(self, emit: Callable[[str, Json], None], base_url: Callable[[], str]) -> None:
        self._emit = emit
        self._base_url = base_url
        self.bot = objects.user("ccdtasks", is_bot=True)
        self.application = objects.application(self.bot)
        owner = objects.user("owner")
        self.guild = objects.guild(objects.snowflake(), "Home", owner["id"])
        self.guild_id: str = self.guild["id"]
        self.roles: dict[str, Json] = {}
        self.bot_role = self.add_role("ccdtasks", 0)
        self.roles[self.guild_id] = objects.role(self.guild_id, "@everyone", _VIEW | _SEND | _SEND_IN_THREADS, 0)
        self.members: dict[str, Json] = {}
        self.add_member(owner, [])
        self.add_member(self.bot, [self.bot_role])
        self.channels: dict[str, Json] = {}
        self.messages: dict[str, dict[str, Json]] = {}
        self.files: dict[str, bytes] = {}
        self.commands: dict[str, list[Json]] = {"global": [], self.guild_id: []}
        self.changed = asyncio.Event()
        self.bot_is_member = True
        self.dms: dict[str, Json] = {}
        self.closed_dms: set[str] = set()
        self._nonces: dict[tuple[str, str], str] = {}
        self._renames: dict[str, list[float]] = {}

    def allow(self, permissions: int) -> None:
        """Sets what the bot's role may."""
        self.roles[self.bot_role]["permissions"] = str(permissions)

    def add_role(self, name: str, permissions: int) -> str:
        """A new role; returns its id."""
        made = objects.role(objects.snowflake(), name, permissions, len(self.roles))
        self.roles[made["id"]] = made
        return str(made["id"])

    def add_member(self, user: Json, roles: list[str]) -> Json:
        """A user joins."""
        self.members[user["id"]] = objects.member(user, roles)
        return self.members[user["id"]]

    def permissions(self, user_id: str) -> int:
        """What somebody may do in the whole server."""
        granted = int(self.roles[self.guild_id]["permissions"])
        for role_id in self.members[user_id]["roles"]:
            granted |= int(self.roles[role_id]["permissions"])
        return ALL_PERMISSIONS if granted & _ADMINISTRATOR else granted

    def me(self) -> Json:
        """The bot's own user."""
        return {**self.bot, "mfa_enabled": True, "locale": "en-US", "verified": True, "email": None}

    def about(self) -> Json:
        """The bot's application."""
        return self.application

    def places(self) -> list[Json]:
        """Channels and categories, without threads."""
        return [each for each in self.channels.values() if each["type"] not in (PUBLIC_THREAD, DM)]

    def snapshot(self) -> Json:
        """The payload of GUILD_CREATE."""
        return {
            **self.guild,
            "roles": list(self.roles.values()),
            "members": [self.members[self.bot["id"]]],
            "member_count": len(self.members),
            "channels": self.places(),
            "threads": [each for each in self.threads() if not each["thread_metadata"]["archived"]],
            "joined_at": objects.now(),
            "large": False,
            "unavailable": False,
            "voice_states": [],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }

    def threads(self, parent_id: str | None = None) -> list[Json]:
        """The threads of a channel, or all, oldest first."""
        found = [each for each in self.channels.values() if each["type"] == PUBLIC_THREAD]
        return [each for each in found if parent_id in (None, each["parent_id"])]

    def channel(self, channel_id: str) -> Json:
        """A channel, category or thread; Discord's refusal when it is gone."""
        if channel_id not in self.channels:
            raise Refusal(404, 10003, "Unknown Channel")
        return self.channels[channel_id]

    def message(self, channel_id: str, message_id: str) -> Json:
        """A message; Discord's refusal when it or its channel is gone."""
        self.channel(channel_id)
        if message_id not in self.messages[channel_id]:
            raise Refusal(404, 10008, "Unknown Message")
        return self.messages[channel_id][message_id]

    def make_channel(self, body: Json, *, by_bot: bool = True) -> Json:
        """A channel or category."""
        if by_bot:
            self._require(_MANAGE_CHANNELS)
        places = self.places()
        if len(places) >= CHANNELS:
            raise Refusal(400, 30013, "Maximum number of server channels reached (500)")
        parent = body.get("parent_id")
        if parent:
            siblings = [each for each in places if each["parent_id"] == str(parent)]
            if len(siblings) >= CHANNELS_PER_CATEGORY:
                raise Refusal(400, 50035, "Invalid Form Body", errors={"parent_id": "Maximum number of channels"})
        made = objects.channel(self.guild_id, body, len(places))
        self._keep_channel(made)
        self.tell("CHANNEL_CREATE", made)
        return made

    def change_channel(self, channel_id: str, body: Json, at_s: float) -> Json:
        """Name, topic, archiving; two renames in ten minutes."""
        found = self.channel(channel_id)
        is_thread = found["type"] == PUBLIC_THREAD
        self._require(_MANAGE_THREADS if is_thread else _MANAGE_CHANNELS)
        if {"name", "topic"} & body.keys():
            recent = [at for at in self._renames.get(channel_id, []) if at > at_s - RENAME_WINDOW_S]
            if len(recent) >= RENAMES:
                raise RateLimit(recent[0] + RENAME_WINDOW_S - at_s)
            self._renames[channel_id] = [*recent, at_s]
        if is_thread and found["thread_metadata"]["archived"] and body.get("archived") is not False:
            raise Refusal(400, 50083, "Thread is archived")
        for key in ("name", "topic"):
            if key in body:
                found[key] = body[key]
        for key in ("archived", "locked"):
            if key in body and is_thread:
                found["thread_metadata"][key] = body[key]
        self.tell("THREAD_UPDATE" if is_thread else "CHANNEL_UPDATE", found)
        return found

    def delete_channel(self, channel_id: str) -> Json:
        """A channel goes with its threads."""
        found = self.channel(channel_id)
        for each in self.threads(channel_id):
            self.delete_channel(each["id"])
        for each in [each for each in self.places() if each["parent_id"] == channel_id]:  # a category leaves them
            each["parent_id"] = None
            self.tell("CHANNEL_UPDATE", each)
        del self.channels[channel_id], self.messages[channel_id]
        self.tell("THREAD_DELETE" if found["type"] == PUBLIC_THREAD else "CHANNEL_DELETE", found)
        return found

    def make_thread(self, channel_id: str, message_id: str, body: Json) -> Json:
        """The thread of a message; it can have but one."""
        self._require(_PUBLIC_THREADS)
        starter = self.message(channel_id, message_id)
        if message_id in self.channels or starter.get("had_thread"):
            raise Refusal(400, 160004, "A thread has already been created for this message")
        if len([each for each in self.threads() if not each["thread_metadata"]["archived"]]) >= THREADS:
            raise Refusal(400, 160006, "Maximum number of active threads reached")
        starter["had_thread"] = True
        made = objects.thread(self.channel(channel_id), message_id, body, self.bot["id"])
        self._keep_channel(made)
        self.tell("THREAD_CREATE", {**made, "newly_created": True})
        return made

    def make_dm(self, body: Json) -> Json:
        """The conversation of the bot with one person; there is one for ever."""
        person = str(body["recipient_id"])
        if person not in self.members:
            raise Refusal(400, 50033, "Invalid Recipient(s)")
        if person not in self.dms:
            self.dms[person] = objects.dm(self.members[person]["user"])
            self._keep_channel(self.dms[person])
        return self.dms[person]

    def history(self, channel_id: str, query: Json) -> list[Json]:
        """The latest messages of a place, newest first; `after`: only younger ones."""
        self.channel(channel_id)
        self._require(_READ_HISTORY, 50001)
        younger = [each for each in self.messages[channel_id].values() if int(each["id"]) > int(query.get("after", 0))]
        shown = younger[: int(query.get("limit", 50))] if "after" in query else younger[-int(query.get("limit", 50)) :]
        return [
            {key: value for key, value in each.items() if key not in ("nonce", "had_thread")} for each in shown[::-1]
        ]

    def forget_nonces(self) -> None:
        """Discord remembers them for some minutes (Create Message, `enforce_nonce`), which have passed."""
        self._nonces.clear()

    def post(self, channel_id: str, body: Json, files: dict[str, bytes]) -> Json:
        """A message of the bot; the same nonce again gives the message that it gave before."""
        place = self.channel(channel_id)
        is_thread = place["type"] == PUBLIC_THREAD
        if place["type"] == DM:
            if place["recipients"][0]["id"] in self.closed_dms:
                raise Refusal(403, 50007, "Cannot send messages to this user")
        else:
            self._require(_VIEW, 50001)
            self._require(_SEND_IN_THREADS if is_thread else _SEND)
        if place["type"] == CATEGORY:
            raise Refusal(400, 50008, "Cannot send messages in a non-text channel")
        if is_thread:
            if place["thread_metadata"]["locked"]:
                raise Refusal(400, 50083, "Thread is locked")
            place["thread_metadata"]["archived"] = False
        key = (channel_id, str(body.get("nonce")))
        if body.get("enforce_nonce") and key in self._nonces:
            return self.messages[channel_id].get(self._nonces[key]) or self._refuse_gone()
        made = objects.message(channel_id, self.bot, body, self.upload(channel_id, body, files))
        made["mentions"] = self._mentions(body)
        self.messages[channel_id][made["id"]] = made
        if body.get("nonce") is not None:
            self._nonces[key] = made["id"]
        place["last_message_id"] = made["id"]
        self.changed.set()
        return made

    def edit(self, channel_id: str, message_id: str, body: Json, files: dict[str, bytes]) -> Json:
        """A message after a change; not in an archived thread."""
        place, before = self.channel(channel_id), self.message(channel_id, message_id)
        if place["type"] == PUBLIC_THREAD and place["thread_metadata"]["archived"]:
            raise Refusal(400, 50083, "Thread is archived")
        attachments = before["attachments"] if "attachments" not in body else self.upload(channel_id, body, files)
        self.messages[channel_id][message_id] = objects.edited(before, body, attachments)
        self.changed.set()
        return self.messages[channel_id][message_id]

    def delete_message(self, channel_id: str, message_id: str) -> None:
        """Somebody deletes a message."""
        self.message(channel_id, message_id)
        del self.messages[channel_id][message_id]
        self.changed.set()

    def upload(self, channel_id: str, body: Json, files: dict[str, bytes]) -> list[Json]:
        """The attachments of a message, their bytes kept; `files`: form field -> content."""
        if any(len(data) > FILE_BYTES for data in files.values()) or sum(map(len, files.values())) > REQUEST_BYTES:
            raise Refusal(413, 40005, "Request entity too large")
        attachments = []
        for each in body.get("attachments") or ():
            data = files.get(f"files[{each['id']}]")
            if data is None:
                continue
            file_id, name = objects.snowflake(), re.sub(r"[^\w.-]", "_", each["filename"])
            self.files[file_id] = data
            url = f"{self._base_url()}/attachments/{channel_id}/{file_id}/{name}"
            attachments.append(
                {"id": file_id, "filename": name, "size": len(data), "url": url, "proxy_url": url, "flags": 0}
            )
        return attachments

    def register(self, body: list[Json] | None, scope: str = "global") -> list[Json]:
        """Replaces the commands of the server (its id) or the global ones."""
        known = {each["name"]: each["id"] for each in self.commands[scope]}
        self.commands[scope] = [
            {
                "dm_permission": True,
                "default_member_permissions": None,
                "nsfw": False,
                "contexts": None,
                "integration_types": [0],
                **{key: value for key, value in each.items() if value is not None},
                "id": known.get(each["name"], objects.snowflake()),
                "application_id": self.bot["id"],
                "version": objects.snowflake(),
                "type": each.get("type") or 1,
                **({} if scope == "global" else {"guild_id": scope}),
            }
            for each in body or ()
        ]
        self.changed.set()
        return self.commands[scope]

    def tell(self, event: str, data: Json) -> None:
        """Wakes whoever waits for a change, and sends the event to the bot."""
        self.changed.set()
        self._emit(event, {**data})

    def _keep_channel(self, made: Json) -> None:
        self.channels[made["id"]] = made
        self.messages[made["id"]] = {}

    def _require(self, permission: int, code: int = 50013) -> None:
        if not self.permissions(self.bot["id"]) & permission:
            raise Refusal(403, code, "Missing Permissions" if code == 50013 else "Missing Access")

    def _mentions(self, body: Json) -> list[Json]:
        """Who is really called: named in the content and allowed by the request."""
        allowed = body.get("allowed_mentions") or {"parse": ["users"]}
        named = re.findall(r"<@!?(\d+)>", body.get("content") or "")
        users = {str(each) for each in allowed.get("users") or ()}
        any_user = "users" in (allowed.get("parse") or ())
        return [self.members[each]["user"] for each in named if each in self.members and (any_user or each in users)]

    def _refuse_gone(self) -> Json:
        raise Refusal(404, 10008, "Unknown Message")


class RateLimit(Exception):
    """429, with the seconds to wait."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"{retry_after_s} s")
        self.retry_after_s = retry_after_s


__all__ = ["TEXT", "RateLimit", "Refusal", "State"]
