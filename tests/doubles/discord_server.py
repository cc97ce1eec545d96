"""A Discord of our own on loopback: REST and gateway as the real one speaks them, and people who use the bot.

    async with DiscordServer() as discord:
        config = {"discord": discord.config}           # for `ccdtasks serve`, in this process or another
        alice = discord.person("alice")
        await discord.connected()
        reply = await discord.slash(alice, "task-start", task="shoes")
        result = await discord.until(lambda: discord.message(discord.thread("shoes"), title="done"))
        await discord.click(alice, result, "Run Again")
        discord.assert_clean()

Every request is checked against Discord's own OpenAPI file and the rules that it does not know; what is wrong is
answered as Discord would (50035) and kept in `violations`. Faults on demand: `fail`, `limit`, `hold`, `lose_answer`,
`drop_gateway`, `go_down`, `come_back`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from aiohttp import web

from tests.doubles.discord import objects
from tests.doubles.discord.gateway import Gateway
from tests.doubles.discord.interactions import Asked, Interactions, resolve
from tests.doubles.discord.objects import COMMAND, COMPLETION, COMPONENT, FORM, Json
from tests.doubles.discord.rest import BASE, Fault, Rest, Seen
from tests.doubles.discord.state import State

T = TypeVar("T")
BOT_PERMISSIONS = 326417632272
"""View and manage channels, send, embed, attach, read history, make, manage and send in threads."""
PATIENCE_S = 30.0


@dataclass(frozen=True)
class Person:
    """Somebody in the server."""

    id: str
    name: str

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"


@dataclass(frozen=True)
class Reply:
    """What the bot answered to one interaction, as it looks now."""

    asked: Asked
    person: Person

    @property
    def message(self) -> Json:
        assert self.asked.original is not None, "the bot gave no message"
        return self.asked.original

    @property
    def embed(self) -> Json:
        return dict(self.message["embeds"][0])

    @property
    def text(self) -> str:
        """Content, title and text of the embed in one, to look for words in."""
        return text_of(self.message)

    @property
    def modal(self) -> Json:
        assert self.asked.modal is not None, "the bot opened no form"
        return self.asked.modal


class DiscordServer:
    """One server with one bot. `config` is what goes below `[discord]`."""

    def __init__(self, *, permissions: int = BOT_PERMISSIONS, answer_within_s: float = 3.0) -> None:
        self.token = "MTA.double.token"
        self._answer_within_s = answer_within_s
        self._permissions = permissions
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        self.gateway = Gateway(lambda: self.state, self.token)
        self.state = State(self.gateway.emit, lambda: f"http://127.0.0.1:{self.port}")
        self.state.allow(self._permissions)
        self._interactions = Interactions(self.state, self._answer_within_s)
        self.rest = Rest(self.state, self._interactions, self.token)
        self.lobby = self.state.make_channel({"name": "lobby", "type": 0}, by_bot=False)["id"]
        await self.come_back()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.go_down()

    @property
    def config(self) -> Json:
        """The `[discord]` table of a bot that talks to us."""
        return {
            "token": self.token,
            "guild_id": int(self.state.guild_id),
            "api_url": f"http://127.0.0.1:{self.port}{BASE}",
            "gateway_url": f"ws://127.0.0.1:{self.port}/gateway",
        }

    @property
    def requests(self) -> list[Seen]:
        return self.rest.requests

    @property
    def violations(self) -> list[str]:
        return self.rest.violations

    def assert_clean(self) -> None:
        """Nothing that was sent, and nothing that we answered, would be refused by Discord's own file."""
        assert not self.violations, "\n".join(self.violations)

    # ---- people -------------------------------------------------------------------------------------------------

    def person(self, name: str, roles: tuple[str, ...] = ()) -> Person:
        """Somebody joins; `roles`: ids from `role`."""
        user = objects.user(name)
        self.state.add_member(user, list(roles))
        return Person(user["id"], name)

    def role(self, name: str, *, is_administrator: bool = False) -> str:
        """A role; returns its id."""
        return self.state.add_role(name, 8 if is_administrator else 0)

    async def slash(
        self,
        person: Person,
        name: str,
        /,
        *,
        channel_id: str | None = None,
        guild_id: str | None = None,
        **options: Any,
    ) -> Reply:
        """Uses a command, and waits for what it says at last (or for its form). `guild_id`: from another server."""
        given = [{"name": key, "type": resolve(value), "value": value} for key, value in options.items()]
        return await self._ask(person, COMMAND, self._command(name, given), channel_id, guild_id=guild_id)

    async def autocomplete(self, person: Person, name: str, option: str, typed: str) -> list[Json]:
        """Types into an option; the choices that come."""
        given = [{"name": option, "type": 3, "value": typed, "focused": True}]
        return (await self._ask(person, COMPLETION, self._command(name, given), None)).asked.choices

    async def click(self, person: Person, message: Json | Reply, label: str) -> Reply:
        """Presses the button of that label."""
        shown = message.message if isinstance(message, Reply) else message
        buttons = {each.get("label"): each for row in shown["components"] for each in row["components"]}
        assert label in buttons, f"no button {label!r} among {sorted(map(str, buttons))}"
        data = {"component_type": 2, "custom_id": buttons[label]["custom_id"], "id": buttons[label].get("id", 1)}
        return await self._ask(person, COMPONENT, data, shown["channel_id"], message=shown)

    async def submit(self, person: Person, form: Reply, values: dict[str, str]) -> Reply:
        """Fills in a form and sends it; `values` by the fields' ids."""
        components = []
        for number, label in enumerate(form.modal["components"], 1):
            (field,) = [label["component"]] if "component" in label else label["components"]
            value = values.get(field["custom_id"], field.get("value", ""))
            entry = {"type": 4, "id": number, "custom_id": field["custom_id"], "value": value}
            wrapped = {"component": entry} if "component" in label else {"components": [entry]}
            components.append({"type": label["type"], "id": number + 100, **wrapped})
        data = {"custom_id": form.modal["custom_id"], "components": components, "resolved": {}}
        return await self._ask(person, FORM, data, form.asked.channel_id)

    def invite(self) -> None:
        """The bot joins the server (that it was kept out of by `state.bot_is_member`)."""
        self.state.bot_is_member = True
        self.state.tell("GUILD_CREATE", self.state.snapshot())

    # ---- what is there ------------------------------------------------------------------------------------------

    async def connected(self) -> None:
        """The bot is connected and its commands are registered."""
        await self.until(lambda: self.gateway.is_connected and self.state.commands[self.state.guild_id])

    async def until(self, seen: Callable[[], T], timeout_s: float = PATIENCE_S) -> T:
        """Waits for changes until `seen` gives something true; what it gave."""
        async with asyncio.timeout(timeout_s):
            while not (found := seen()):
                self.state.changed.clear()
                await self.state.changed.wait()
        return found

    def channel(self, name: str) -> Json | None:
        """A text channel or category by name."""
        found = [each for each in self.state.channels.values() if each.get("name") == name]
        return found[0] if found else None

    def thread(self, channel: str, number: int = -1) -> Json | None:
        """A thread of the channel of that name, the latest one when not said otherwise."""
        parent = self.channel(channel)
        threads = self.state.threads(parent["id"]) if parent else []
        return threads[number] if len(threads) > (number if number >= 0 else 0) else None

    def messages(self, place: Json | None) -> list[Json]:
        """The messages of a channel or thread, oldest first."""
        return list(self.state.messages[place["id"]].values()) if place else []

    def message(self, place: Json | None, words: str) -> Json | None:
        """The latest message that has these words in its content, title or text."""
        found = [each for each in self.messages(place) if words in text_of(each)]
        return found[-1] if found else None

    def files(self, message: Json) -> dict[str, bytes]:
        """The attachments of a message: name -> content."""
        return {each["filename"]: self.state.files[each["id"]] for each in message["attachments"]}

    # ---- what goes wrong ----------------------------------------------------------------------------------------

    def fail(self, method: str, path: str, status: int, code: int = 0, times: int = 1) -> None:
        """The next requests that match (`*` stands for anything) are refused."""
        self.rest.faults.append(Fault(method, path, times, status=status, code=code))

    def limit(self, method: str, path: str, retry_after_s: float, times: int = 1, *, is_global: bool = False) -> None:
        """The next requests are answered with 429; `is_global`: it is about all that the bot asks."""
        self.rest.faults.append(Fault(method, path, times, retry_after_s=retry_after_s, is_global=is_global))

    def ban(self, times: int = 1) -> None:
        """The next requests are refused by the guard before Discord, as after too many mistakes."""
        self.rest.faults.append(Fault("*", "*", times, retry_after_s=0, is_ban=True))

    def hold(self, method: str, path: str, times: int = 1) -> asyncio.Event:
        """The next requests get no answer until the event is set."""
        fault = Fault(method, path, times, held=asyncio.Event())
        self.rest.faults.append(fault)
        assert fault.held is not None
        return fault.held

    def lose_answer(self, method: str, path: str, times: int = 1) -> None:
        """The next requests are carried out, but the connection breaks before the answer."""
        self.rest.faults.append(Fault(method, path, times, loses_answer=True))

    async def drop_gateway(self) -> None:
        """All gateway connections break without a word."""
        await self.gateway.drop()

    async def go_down(self) -> None:
        """Nothing listens any more; everything that was open breaks."""
        await self.gateway.drop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def come_back(self) -> None:
        """Listens, at the port of before."""
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_get("/gateway", self.gateway.handle)
        app.router.add_get("/gateway/", self.gateway.handle)
        app.router.add_get("/attachments/{channel}/{id}/{name}", self._file)
        app.router.add_route("*", BASE + "/{rest:.*}", self.rest.handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def _file(self, request: web.Request) -> web.Response:
        data = self.state.files.get(request.match_info["id"])
        return web.Response(body=data) if data is not None else web.Response(status=404)

    def _command(self, name: str, given: list[Json]) -> Json:
        """The command as the client sends it; only one that is registered can be used. `settings show`: of a group."""
        first, _, below = name.partition(" ")
        registered = {each["name"]: each for each in self.state.commands[self.state.guild_id]}
        assert first in registered, f"/{first} is not among {sorted(registered)}"
        command = registered[first]
        options = {each["name"]: each for each in command.get("options", ())}
        if below:
            assert below in options, f"/{first} has no {below}"
            options = {each["name"]: each for each in options[below].get("options", ())}
        unknown = {each["name"] for each in given} - options.keys()
        assert not unknown, f"/{name} has no option {unknown}"
        sent = [{"name": below, "type": 1, "options": given}] if below else given
        return {"id": command["id"], "name": first, "type": 1, "guild_id": self.state.guild_id, "options": sent}

    async def _ask(
        self,
        person: Person,
        kind: int,
        data: Json,
        channel_id: str | None,
        *,
        message: Json | None = None,
        guild_id: str | None = None,
    ) -> Reply:
        channel = self.state.channel(channel_id or self.lobby)
        asked = self._interactions.ask(channel["id"], message)
        payload: Json = {
            "id": asked.id,
            "application_id": self.state.bot["id"],
            "type": kind,
            "token": asked.token,
            "version": 1,
            "guild_id": guild_id or self.state.guild_id,
            "guild": {"id": guild_id or self.state.guild_id, "locale": "en-US", "features": []},
            "guild_locale": "en-US",
            "locale": "en-US",
            "channel_id": channel["id"],
            "channel": {**channel, "permissions": str(self.state.permissions(person.id))},
            "member": {
                **self.state.members[person.id],
                "permissions": str(self.state.permissions(person.id)),
                "unusual_dm_activity_until": None,
            },
            "app_permissions": str(self.state.permissions(self.state.bot["id"])),
            "entitlements": [],
            "entitlement_sku_ids": [],
            "authorizing_integration_owners": {"0": self.state.guild_id},
            "context": 0,
            "attachment_size_limit": 10485760,
            "data": data,
        }
        if message is not None:
            payload["message"] = {key: value for key, value in message.items() if key != "had_thread"}
        self.state.tell("INTERACTION_CREATE", payload)
        await self.until(lambda: asked.is_answered)
        return Reply(asked, person)


def text_of(message: Json) -> str:
    """Content, titles, texts and footers of a message in one."""
    said = [message["content"]]
    for embed in message["embeds"]:
        said += [embed.get("title", ""), embed.get("description", ""), (embed.get("footer") or {}).get("text", "")]
    return "\n".join(said)
