"""A wrong configuration ends every verb with code 78 and all its mistakes, none of which tells a secret."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Command, Place

WRONG = """
[claude]
api_key = "sk-ant-PLANTED one"
oauth_token = "sk-ant-PLANTED"
modle = "x"
[server]
port = 70000
public_url = "tasks.example.com"
[storage]
kind = "s3"
"""
SENTENCES = (
    "error: [claude] modle is not known; the nearest known key is model.",
    "error: [claude] api_key must be one word without spaces; leave the key out if there is none.",
    "error: [server] port must be at most 65535.",
    "error: [server] public_url must begin with http:// or https:// and name a host.",
    'error: [storage] bucket is missing: kind = "s3" needs to know where to put files.',
)


@pytest.mark.parametrize(
    "words", [("serve",), ("runs",), ("doctor",), ("config", "check"), ("demo",), ("image", "build")]
)
def test_every_verb_names_all_mistakes_and_ends_with_78(new_place: Place, words: tuple[str, ...]) -> None:
    new_place.config.write_text(WRONG)
    done = new_place.run(*words, CCDTASKS_LIMITS__MAX_SESSION="3")
    assert done.code == 78
    assert done.out == ""
    for sentence in (*SENTENCES, "error: CCDTASKS_LIMITS__MAX_SESSION is not known"):
        assert sentence in done.err
    assert "PLANTED" not in done.err
    assert not new_place.data_dir.exists(), "something was made in spite of the mistakes"


def test_in_json_the_mistakes_are_a_list(place: Place) -> None:
    place.config.write_text(WRONG)
    done = place.run("config", "check", "--json")
    assert done.code == 78
    assert len(done.error()["mistakes"]) == len(SENTENCES)
    assert "PLANTED" not in done.err


def test_a_good_configuration_is_shown_without_its_secrets(place: Place) -> None:
    place.config.write_text('[claude]\napi_key = "sk-ant-PLANTED"\n[limits]\nmax_sessions = 3\n')
    place.config.chmod(0o644)
    shown = place.run("config", "check")
    assert shown.code == 0
    assert "c.toml is good" in shown.out
    assert "limits.max_sessions" in shown.out
    assert "every user of this machine can read it" in shown.err
    data = place.run("config", "check", "--json").json()
    assert data["config"]["limits"]["max_sessions"] == 3
    assert data["warnings"]
    assert "PLANTED" not in shown.out + shown.err + str(data)


def test_the_file_may_be_named_before_or_after_the_verb(place: Place, ccdtasks: Command) -> None:
    other = place.root / "other.toml"
    other.write_text("[limits]\nmax_sessions = 4\n")
    for words in (("--config", str(other), "config", "check"), ("config", "check", "--config", str(other))):
        assert ccdtasks(*words, "--json").json()["path"] == str(other)
