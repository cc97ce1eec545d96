"""Checks of what is outside: the model's credential, the bot's token and permissions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

from aiohttp import ClientError, ClientSession, ClientTimeout

from ccdtasks.config import ClaudeConfig, DiscordConfig
from ccdtasks.doctor.finding import Finding, fail, ok, warn
from ccdtasks.gateways.credential import Credential
from ccdtasks.gateways.question import count_one_word

_TIMEOUT = ClientTimeout(total=20)
_OVERLOADED = (429, 529)

# https://discord.com/developers/docs/topics/permissions
_PERMISSIONS = {
    "View Channels": 1 << 10,
    "Manage Channels": 1 << 4,
    "Send Messages": 1 << 11,
    "Embed Links": 1 << 14,
    "Attach Files": 1 << 15,
    "Read Message History": 1 << 16,
    "Manage Threads": 1 << 34,
    "Create Public Threads": 1 << 35,
    "Send Messages in Threads": 1 << 38,
}
_ADMINISTRATOR = 1 << 3


async def model_credential(claude: ClaudeConfig) -> Finding:
    """Asks the model's API to count the tokens of one word: free, and only possible with a good credential."""
    kind: Literal["api_key", "oauth_token"] = "api_key" if claude.api_key else "oauth_token"
    secret = claude.api_key or claude.oauth_token
    if secret is None:
        return fail("model", "There is no credential for Claude.", "set [claude] api_key or oauth_token")
    credential = Credential(kind, secret.get_secret_value())
    try:
        return _model_finding(await count_one_word(claude.base_url, credential, claude.model), claude, kind)
    except (ClientError, TimeoutError, OSError) as error:
        return _out_of_reach("model", claude.base_url, error)


def _model_finding(status: int, claude: ClaudeConfig, kind: str) -> Finding:
    if status == 200:
        return ok("model", f"Claude accepts the credential for {claude.model}.")
    if status in (401, 403):
        text = f"Claude refuses [claude] {kind} (HTTP {status}), so no run can succeed."
        return fail("model", text, f"put a valid {kind} there")
    if status == 404:
        return fail("model", f"Claude does not know the model {claude.model}.", "correct [claude] model")
    if status in _OVERLOADED or status >= 500:
        return warn("model", f"Claude is busy or out of order right now (HTTP {status}).", "try again later")
    return fail("model", f"Claude refuses the request (HTTP {status}).", "check [claude] model and base_url")


async def discord_findings(discord: DiscordConfig) -> AsyncIterator[Finding]:
    """The token, the server, and what the bot may do there."""
    if discord.token is None:
        yield warn(
            "discord", "No bot token is set: tasks can be used from the shell only.", "set [discord] token and guild_id"
        )
        return
    headers = {"Authorization": f"Bot {discord.token.get_secret_value()}"}
    try:
        async with ClientSession(timeout=_TIMEOUT, headers=headers) as session:
            yield await _discord(session, discord.api_url.rstrip("/"), discord.guild_id)
    except (ClientError, TimeoutError, OSError) as error:
        yield fail(
            "discord", f"{discord.api_url} cannot be reached: {type(error).__name__}.", "check the internet connection"
        )


async def _discord(session: ClientSession, api: str, guild_id: int | None) -> Finding:
    status, bot = await _get(session, f"{api}/users/@me")
    if status == 401:
        return fail("discord", "Discord refuses the bot's token.", "make a new one: your application, Bot, Reset Token")
    if status != 200:
        return warn("discord", f"Discord does not answer as it should (HTTP {status}).", "try again later")
    status, guild = await _get(session, f"{api}/guilds/{guild_id}")
    if status != 200:
        return fail("discord", f"The bot is not on the server {guild_id}.", "invite it, or correct [discord] guild_id")
    status, member = await _get(session, f"{api}/guilds/{guild_id}/members/{bot['id']}")
    if status != 200:
        return warn("discord", f"{bot['username']} is there, but Discord does not show its roles.", "")
    missing = missing_permissions(guild, member)
    if missing:
        return fail("discord", f"{bot['username']} lacks permissions: {', '.join(missing)}.", "give them to its role")
    return ok("discord", f"{bot['username']} may do all it needs on {guild['name']}.")


def missing_permissions(guild: dict[str, Any], member: dict[str, Any]) -> list[str]:
    """What the member's roles, and everyone's, do not allow on the server as a whole."""
    held = {*member["roles"], guild["id"]}  # the role of everyone has the server's own id
    allowed = 0
    for role in guild["roles"]:
        if role["id"] in held:
            allowed |= int(role["permissions"])
    if allowed & _ADMINISTRATOR or guild.get("owner_id") == member.get("user", {}).get("id"):
        return []
    return [name for name, bit in _PERMISSIONS.items() if not allowed & bit]


async def _get(session: ClientSession, url: str) -> tuple[int, Any]:
    async with session.get(url) as response:
        return response.status, await response.json() if response.status == 200 else None


def _out_of_reach(check: str, url: str, error: Exception) -> Finding:
    return fail(check, f"{url} cannot be reached ({type(error).__name__}).", "check the internet connection")
