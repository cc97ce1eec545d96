"""Whole objects as Discord sends them: a missing field would end discord.py's gateway task."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

Json = dict[str, Any]

_ids = itertools.count(1)
_EPOCH_MS = 1420070400000

TEXT, DM, CATEGORY, PUBLIC_THREAD = 0, 1, 4, 11
COMMAND, COMPONENT, COMPLETION, FORM = 2, 3, 4, 5


def snowflake() -> str:
    """A fresh id that carries the time, as Discord's do; rising, also within a millisecond."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000) - _EPOCH_MS
    return str((now_ms << 22) + next(_ids) % (1 << 22))


def now() -> str:
    """The time as Discord writes it."""
    return datetime.now(UTC).isoformat()


def user(name: str, *, is_bot: bool = False) -> Json:
    """A user."""
    return {
        "id": snowflake(),
        "username": name,
        "global_name": name.title(),
        "discriminator": "0",
        "avatar": None,
        "avatar_decoration_data": None,
        "public_flags": 0,
        "flags": 0,
        "primary_guild": None,
        "bot": is_bot,
        "system": False,
    }


def application(bot: Json) -> Json:
    """The bot's application."""
    return {
        "id": bot["id"],
        "name": bot["username"],
        "icon": None,
        "description": "",
        "summary": "",
        "type": None,
        "verify_key": "0" * 64,
        "flags": 0,
        "flags_new": "0",
        "redirect_uris": [],
        "interactions_endpoint_url": None,
        "role_connections_verification_url": None,
        "owner": user("owner"),
        "approximate_guild_count": 1,
        "approximate_user_install_count": 0,
        "approximate_user_authorization_count": 0,
        "explicit_content_filter": 0,
        "team": None,
        "eligible_oauth2_scopes": [],
        "bot_public": False,
        "bot_require_code_grant": False,
    }


def role(role_id: str, name: str, permissions: int, position: int) -> Json:
    """A role of the server."""
    return {
        "id": role_id,
        "name": name,
        "description": None,
        "permissions": str(permissions),
        "position": position,
        "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
        "hoist": False,
        "managed": False,
        "mentionable": False,
        "icon": None,
        "unicode_emoji": None,
        "flags": 0,
    }


def member(of: Json, roles: list[str]) -> Json:
    """A user within the server."""
    return {
        "user": of,
        "nick": None,
        "avatar": None,
        "banner": None,
        "roles": roles,
        "joined_at": now(),
        "premium_since": None,
        "deaf": False,
        "mute": False,
        "flags": 0,
        "pending": False,
        "communication_disabled_until": None,
    }


def guild(guild_id: str, name: str, owner_id: str) -> Json:
    """A server, without its roles, members and channels."""
    empty = ("icon", "description", "home_header", "splash", "discovery_splash", "banner", "application_id")
    places = ("afk_channel_id", "system_channel_id", "widget_channel_id", "rules_channel_id")
    rest = ("vanity_url_code", "safety_alerts_channel_id", "public_updates_channel_id", "incidents_data")
    numbers = ("system_channel_flags", "verification_level", "default_message_notifications", "mfa_level")
    return {
        "id": guild_id,
        "name": name,
        **dict.fromkeys((*empty, *places, *rest)),
        **dict.fromkeys(numbers, 0),
        "features": [],
        "owner_id": owner_id,
        "region": "rotterdam",
        "afk_timeout": 300,
        "widget_enabled": False,
        "explicit_content_filter": 0,
        "max_presences": None,
        "max_members": 500000,
        "max_stage_video_channel_users": 50,
        "max_video_channel_users": 25,
        "premium_tier": 0,
        "premium_subscription_count": 0,
        "preferred_locale": "en-US",
        "premium_progress_bar_enabled": False,
        "nsfw": False,
        "nsfw_level": 0,
        "emojis": [],
        "stickers": [],
    }


def channel(guild_id: str, body: Json, position: int) -> Json:
    """A text channel or a category from the request that makes it."""
    kind = body.get("type", TEXT)
    parent = body.get("parent_id")
    made: Json = {
        "id": snowflake(),
        "type": kind,
        "flags": 0,
        "guild_id": guild_id,
        "name": body["name"] if kind == CATEGORY else channel_name(body["name"]),
        "position": position,
        "permission_overwrites": body.get("permission_overwrites", []),
        "parent_id": str(parent) if parent else None,
        "nsfw": False,
    }
    if kind == TEXT:
        made |= {"topic": body.get("topic"), "rate_limit_per_user": 0, "last_message_id": None}
    return made


def dm(person: Json) -> Json:
    """A conversation with one person."""
    return {"id": snowflake(), "type": DM, "flags": 0, "last_message_id": None, "recipients": [person]}


def channel_name(name: str) -> str:
    """What Discord makes of a text channel's name."""
    return "-".join(name.lower().split())


def thread(parent: Json, message_id: str, body: Json, owner_id: str) -> Json:
    """A thread that starts from a message and has its id."""
    return {
        "id": message_id,
        "type": PUBLIC_THREAD,
        "flags": 0,
        "guild_id": parent["guild_id"],
        "parent_id": parent["id"],
        "name": body["name"],
        "owner_id": owner_id,
        "last_message_id": None,
        "rate_limit_per_user": 0,
        "message_count": 0,
        "member_count": 1,
        "total_message_sent": 0,
        "thread_metadata": {
            "archived": False,
            "archive_timestamp": now(),
            "auto_archive_duration": body.get("auto_archive_duration", 1440),
            "locked": False,
            "create_timestamp": now(),
        },
        "member": {
            "id": message_id,
            "user_id": owner_id,
            "join_timestamp": now(),
            "flags": 0,
        },
    }


def message(channel_id: str, author: Json, body: Json, attachments: list[Json]) -> Json:
    """A message from the request that sends it."""
    made: Json = {
        "id": snowflake(),
        "type": 0,
        "channel_id": channel_id,
        "author": author,
        "content": body.get("content") or "",
        "timestamp": now(),
        "edited_timestamp": None,
        "tts": False,
        "pinned": False,
        "mention_everyone": False,
        "mentions": [],
        "mention_roles": [],
        "attachments": attachments,
        "embeds": _embeds(body, attachments),
        "components": _components(body),
        "flags": body.get("flags") or 0,
    }
    if body.get("nonce") is not None:
        made["nonce"] = body["nonce"]
    return made


def edited(before: Json, body: Json, attachments: list[Json]) -> Json:
    """A message after a PATCH: only what the request names changes."""
    after = {**before, "edited_timestamp": now(), "attachments": attachments}
    if "content" in body:
        after["content"] = body["content"] or ""
    if "embeds" in body:
        after["embeds"] = _embeds(body, attachments)
    if "components" in body:
        after["components"] = _components(body)
    return after


def _embeds(body: Json, attachments: list[Json]) -> list[Json]:
    """Embeds as they come back: `attachment://name` is the address of the file now."""
    urls = {f"attachment://{each['filename']}": each["url"] for each in attachments}
    embeds = []
    for each in body.get("embeds") or ():
        embed = {"type": "rich", **each}
        if "image" in embed:
            url = urls.get(embed["image"]["url"], embed["image"]["url"])
            embed["image"] = {"url": url, "proxy_url": url, "width": 1, "height": 1, "flags": 0}
        embeds.append(embed)
    return embeds


def _components(body: Json) -> list[Json]:
    """Rows and buttons, each with the number that Discord gives it."""
    number = itertools.count(1)
    return [
        {**row, "id": next(number), "components": [{"id": next(number), **each} for each in row.get("components", ())]}
        for row in body.get("components") or ()
    ]
