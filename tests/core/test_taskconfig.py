"""The settings of a task, its name, its type and who may do what: one clear sentence a mistake."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ccdtasks.config import Config, DiscordConfig
from ccdtasks.core.access import SHELL, Access, Actor
from ccdtasks.core.definition.categories import CATEGORIES, category_name, check_type, infer_type
from ccdtasks.core.definition.naming import check_name, check_prompt
from ccdtasks.core.definition.taskconfig import config_row, read_config
from ccdtasks.db.enums import Effect
from ccdtasks.errors import Denied, Invalid


def test_an_empty_config_is_the_default() -> None:
    config = read_config({})
    assert config.effect is Effect.READS
    assert config.retries.attempts == 3
    assert config_row(config) == {}


def test_a_config_survives_the_database() -> None:
    given: dict[str, Any] = {
        "timeout_s": 600,
        "budget_usd": "1.50",
        "allowed_domains": ["Shop.Example", "*.kayak.com"],
        "effect": "acts",
        "retries": {"attempts": 1},
        "start_url": "https://shop.example/",
    }
    config = read_config(given)
    assert config.budget_usd == Decimal("1.50")
    assert config.allowed_domains == ("shop.example", "kayak.com")
    assert read_config(config_row(config)) == config


@pytest.mark.parametrize(
    ("given", "cap_s"),
    [
        ({}, 3600),
        ({"backoff_s": 60}, 3600),
        ({"backoff_s": 7200}, 7200),
        ({"backoff_s": "7200"}, 7200),
        ({"backoff_s": 7200, "cap_s": 60}, 60),
    ],
)
def test_who_asks_for_hours_between_two_tries_need_not_raise_the_cap(given: dict[str, Any], cap_s: int) -> None:
    config = read_config({"retries": given})
    assert config.retries.cap_s == cap_s
    assert read_config(config_row(config)) == config


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"timeout": 5}, "There is no setting `timeout`; did you mean `timeout_s`?"),
        ({"xyzzy": 5}, "There is no setting `xyzzy`."),
        ({"retries": {"atempts": 5}}, "There is no setting `retries.atempts`; did you mean `attempts`?"),
        ({"timeout_s": 5}, "`timeout_s` must be at least 30."),
        ({"timeout_s": "soon"}, "`timeout_s` must be a whole number."),
        ({"budget_usd": 0}, "`budget_usd` must be more than 0."),
        ({"budget_usd": "much"}, "`budget_usd` must be a number."),
        ({"effect": "buys"}, "`effect` must be one of 'reads' or 'acts'."),
        (
            {"notify": "sometimes"},
            "`notify` is neither always, change or alert nor a comparison: write always, change, alert or a condition "
            "like lowest_price < price_threshold.",
        ),
        (
            {"notify": "price ** 9 > 1"},
            "`notify` may hold only comparisons, + - * / and the words and, or, not: write always, change, alert or a "
            "condition like lowest_price < price_threshold.",
        ),
        ({"start_url": "file:///etc/passwd"}, "`start_url` must be an http or https address."),
        ({"allowed_domains": ["a b"]}, "`allowed_domains` must be domain names like shop.example."),
        ({"allowed_domains": "shop.example"}, "`allowed_domains` must be a list."),
        ({"retries": 3}, "`retries` must be a table of settings."),
        ({"locale": "english please"}, "`locale` must be a language like en-US."),
        ({"timeout_s": 5, "model": ""}, "`timeout_s` must be at least 30. `model` must be not empty."),
    ],
)
def test_a_wrong_setting(given: dict[str, Any], sentence: str) -> None:
    with pytest.raises(Invalid) as caught:
        read_config(given)
    assert (caught.value.field, caught.value.message) == ("config", sentence)


@pytest.mark.parametrize("name", ["ticket-checker", "a", "zugpreise-münchen", "x" * 100, "a_b-2", "日本"])
def test_names_that_discord_takes(name: str) -> None:
    assert check_name(f" {name} ") == name


@pytest.mark.parametrize(
    ("name", "sentence", "hint"),
    [
        ("", "The task needs a name.", "for example ticket-checker"),
        ("Ticket Checker!", "A task's name has small letters, digits, - and _ only.", "try ticket-checker"),
        ("---", "A task's name has small letters, digits, - and _ only.", "for example ticket-checker"),
        ("#tickets", "A task's name has small letters, digits, - and _ only.", "try tickets"),
        ("a\x00b", "A task's name has small letters, digits, - and _ only.", "try a-b"),
        ("../../etc", "A task's name has small letters, digits, - and _ only.", "try etc"),
        ("x" * 101, "The name is 101 characters long; 100 are the most.", ""),
    ],
)
def test_names_that_it_does_not_take(name: str, sentence: str, hint: str) -> None:
    with pytest.raises(Invalid) as caught:
        check_name(name)
    assert (caught.value.field, caught.value.message, caught.value.hint) == ("name", sentence, hint)


def test_prompts_have_a_length() -> None:
    with pytest.raises(Invalid, match="needs a prompt"):
        check_prompt("  ")
    with pytest.raises(Invalid, match="20,001 characters long; 20,000 are the most"):
        check_prompt("x" * 20_001)
    assert check_prompt(" a\x00b ") == "ab"


@pytest.mark.parametrize(
    ("name", "prompt", "category"),
    [
        ("ticket-checker", "Check flight prices from {origin}", "Ticket Price Monitoring"),
        ("daily-tech-news", "Visit TechCrunch and list the headlines", "News Digests"),
        ("competitor", "Watch the status page for changes", "Web Monitoring"),
        ("scrape-things", "Collect everything", "Web Scraping"),
        ("lego", "Find the cheapest price in any shop", "Price Monitoring"),
        ("hello", "Say hello", "Web Monitoring"),
    ],
)
def test_the_category_that_the_words_suggest(name: str, prompt: str, category: str) -> None:
    assert category_name(infer_type(name, prompt)) == category


def test_types_of_ones_own() -> None:
    assert category_name(check_type("garden-care")) == "Garden Care"
    with pytest.raises(Invalid, match="A task type has small letters"):
        check_type("Garden Care")
    assert all(len(category.name) < 90 for category in CATEGORIES)  # room for " 2" behind it in Discord


def test_roles_decide_who_may_use_it() -> None:
    access = Access(Config(discord=DiscordConfig(user_role_ids=(5,), admin_role_ids=(7,))))
    member, admin, stranger = (Actor("1", "discord", frozenset({role})) for role in (5, 7, 9))
    assert access.may_use(member)
    assert access.may_use(admin)
    assert access.may_use(SHELL)
    assert access.is_admin(admin)
    assert not access.is_admin(member)
    with pytest.raises(Denied, match="You need one of this server's ccdtasks roles"):
        access.require_use(stranger)


def test_without_roles_everyone_of_the_guild_may_use_it() -> None:
    assert Access(Config()).may_use(Actor("1", "discord"))


def test_owners_have_their_own_things() -> None:
    access = Access(Config(discord=DiscordConfig(admin_role_ids=(7,))))
    access.require_owner(Actor("1", "discord"), "1", "stop this run")
    access.require_owner(Actor("2", "discord", frozenset({7})), "1", "stop this run")
    with pytest.raises(Denied) as caught:
        access.require_owner(Actor("2", "discord"), "1", "stop this run")
    assert caught.value.message == "Only <@1> or an admin can stop this run."
