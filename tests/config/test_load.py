"""Where the configuration comes from, what wins, and that every mistake is told at once in a sentence."""

from __future__ import annotations

import os
import pwd
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from ccdtasks.config import BadConfig, load_config


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.startswith("CCDTASKS_") or name == "CREDENTIALS_DIRECTORY"]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))


def _write(path: Path, text: str, mode: int = 0o600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def _mistakes(path: Path | None) -> tuple[str, ...]:
    with pytest.raises(BadConfig) as caught:
        load_config(path)
    return caught.value.mistakes


def test_defaults_hold_without_any_file(tmp_path: Path) -> None:
    loaded = load_config()
    if loaded.path is None:
        assert loaded.config.limits.max_sessions == 10


def test_the_users_own_file_is_found(tmp_path: Path) -> None:
    mine = _write(tmp_path / "xdg" / "ccdtasks" / "config.toml", "[limits]\nmax_sessions = 3\n")
    loaded = load_config()
    if not Path("/etc/ccdtasks/config.toml").exists():
        assert (loaded.path, loaded.config.limits.max_sessions) == (mine, 3)


def test_variable_names_the_file_and_the_option_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCDTASKS_CONFIG", str(_write(tmp_path / "a.toml", "[limits]\nmax_sessions = 4\n")))
    assert load_config().config.limits.max_sessions == 4
    assert load_config(_write(tmp_path / "b.toml", "[limits]\nmax_sessions = 5\n")).config.limits.max_sessions == 5


def test_a_named_file_that_is_absent_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _mistakes(tmp_path / "absent.toml") == (
        f"The configuration file {tmp_path / 'absent.toml'} does not exist.",
    )
    monkeypatch.setenv("CCDTASKS_CONFIG", str(tmp_path / "gone.toml"))
    assert "gone.toml does not exist" in _mistakes(None)[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_file_in_a_closed_folder_is_said_to_be_closed(tmp_path: Path) -> None:
    file = _write(tmp_path / "closed" / "c.toml", "")
    tmp_path.chmod(0o755)
    file.parent.chmod(0o700)
    os.seteuid(pwd.getpwnam("nobody").pw_uid)
    try:
        assert _mistakes(file) == (f"{file} cannot be read: Permission denied.",)
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_whoever_is_not_the_services_user_hears_how_to_act_as_that_user(tmp_path: Path) -> None:
    with TemporaryDirectory(prefix="ccd-") as folder:  # short: sockets lie below it
        file = _write(tmp_path / "c.toml", f'[paths]\ndata_dir = "{folder}"\n')
        assert load_config(file).warnings == ()
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        assert load_config(file).warnings == (
            f"{folder} belongs to the user nobody; act as that user: sudo -u nobody ccdtasks ...",
        )


def test_environment_wins_over_the_file_and_lists_have_commas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "c.toml", '[limits]\nmax_sessions = 3\n[egress]\nallow_private = ["a.lan:1"]\n')
    monkeypatch.setenv("CCDTASKS_LIMITS__MAX_SESSIONS", "7")
    monkeypatch.setenv("CCDTASKS_EGRESS__ALLOW_PRIVATE", "nas.lan:8080, [fd00::1]:80")
    monkeypatch.setenv("CCDTASKS_DISCORD__TOKEN", "")
    config = load_config(path).config
    assert config.limits.max_sessions == 7
    assert config.egress.allow_private == ("nas.lan:8080", "[fd00::1]:80")
    assert config.discord.token is None


def test_prices_are_a_table_or_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(tmp_path / "c.toml", '[claude.prices."my-model"]\ninput = 3\noutput = 15\ncache_read = 0.3\n')
    price = load_config(path).config.claude.prices["my-model"]
    assert (price.input, price.output, price.cache_read, price.cache_write) == (3, 15, Decimal("0.3"), None)
    monkeypatch.setenv("CCDTASKS_CLAUDE__PRICES", '{"other": {"input": 1, "output": 2}}')
    assert set(load_config(path).config.claude.prices) == {"other"}
    monkeypatch.setenv("CCDTASKS_CLAUDE__PRICES", "3")
    assert _mistakes(path) == ("[claude] prices must be a valid dictionary.",)


def test_secret_from_a_file_loses_the_line_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = _write(tmp_path / "key", "sk-ant-1\n")
    loaded = load_config(_write(tmp_path / "c.toml", f'[claude]\napi_key_file = "{secret}"\n'))
    assert loaded.config.claude.api_key is not None
    assert loaded.config.claude.api_key.get_secret_value() == "sk-ant-1"
    assert loaded.warnings == ()
    monkeypatch.setenv("CCDTASKS_CLAUDE__API_KEY_FILE", str(_write(tmp_path / "other", "sk-ant-2")))
    key = load_config(loaded.path).config.claude.api_key
    assert key is not None
    assert key.get_secret_value() == "sk-ant-2"


def test_systemd_credentials_win_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _write(tmp_path / "credentials" / "claude.api_key", "from-systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    key = load_config(_write(tmp_path / "c.toml", '[claude]\napi_key = "inline"\n')).config.claude.api_key
    assert key is not None
    assert key.get_secret_value() == "from-systemd"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[discord]\ntokn = "x"', "[discord] tokn is not known; the nearest known key is token."),
        ("[discrod]\nx = 1", "[discrod] is not known; the nearest known one is [discord]."),
        ('[server]\ndata_dir = "/x"', "[server] data_dir is not known; the nearest known key is [paths] data_dir."),
        (
            "max_sessions = 1",
            "max_sessions stands outside of every table; the nearest known key is [limits] max_sessions.",
        ),
        ('[claude]\nmodel_file = "x"', "[claude] model_file is not known; the nearest known key is model."),
        (
            '[claude]\napi_key = "a"\noauth_token = "b"',
            "[claude] api_key and oauth_token are both set: keep only the one you want to pay with.",
        ),
        ('[claude]\napi_key = "a"\napi_key_file = "/x"', "[claude] api_key and api_key_file are both set: keep one."),
        ('[claude]\napi_key_file = "/nowhere/at/all"', "[claude] api_key_file names a file that does not exist."),
        ('[storage]\nkind = "s3"', '[storage] bucket is missing: kind = "s3" needs to know where to put files.'),
        ('[storage]\nbucket = "b"', '[storage] kind = "s3" is missing, or bucket should not be there.'),
        (
            '[server]\npublic_url = "tasks.example.com"',
            "[server] public_url must begin with http:// or https:// and name a host.",
        ),
        ('[server]\npublic_url = "https://a:b@x.org"', "[server] public_url must not hold a user name or password."),
        ("[claude]\nmodel = 3", "[claude] model must be text in quotes."),
        ("[server]\nport = 65536", "[server] port must be at most 65535."),
        ('[server]\nport = "many"', "[server] port must be a whole number."),
        ("[limits]\nmax_sessions = 2.5", "[limits] max_sessions must be a whole number."),
        ("[claude]\nprices = { x = { input = 1 } }", "[claude] prices.x.output is missing."),
        (
            f'[paths]\ndata_dir = "/{"d" * 80}"',
            "[paths] data_dir is 81 bytes long; sockets below it need it to be at most 70.",
        ),
        ('[paths]\ndata_dir = "here"', "[paths] data_dir must be an absolute path, beginning with /."),
        (
            "[discord]\nadmin_role_ids = [12]",
            "[discord] admin_role_ids must be ids of 17 to 20 digits: switch on Discord's developer mode, "
            "then right-click and choose Copy ID.",
        ),
        (
            '[egress]\nallow_private = ["nas.lan"]',
            "[egress] allow_private must hold host:port pairs, such as nas.lan:8080; no http:// and no path.",
        ),
        (
            '[egress]\nallow_private = ["http://nas.lan:80"]',
            "[egress] allow_private must hold host:port pairs, such as nas.lan:8080; no http:// and no path.",
        ),
        (
            '[egress]\ndeny_hosts = ["https://x.org/"]',
            "[egress] deny_hosts must hold host names, such as ads.example.com; no http://, port or path.",
        ),
        (
            '[database]\nurl = "mysql://x/y"',
            "[database] url must look like postgresql://user:password@host/name, or sqlite:////folder/file.db.",
        ),
        (
            '[claude.prices."my-model"]\ninput = "much"\noutput = 15',
            "[claude] prices.my-model.input must be a number.",
        ),
        (
            '[claude.prices."my-model"]\ninput = 3\noutput = -1',
            "[claude] prices.my-model.output must be at least 0.",
        ),
        (
            '[claude.prices."sk-ant-api03-abc"]\ninput = 3\noutput = 15\ncache = 1',
            "[claude] prices.cache is not known.",
        ),
        (
            '[discord]\ntoken = "a.b.c"',
            "[discord] guild_id is missing: with a token, say which server the bot works in.",
        ),
    ],
)
def test_each_mistake_has_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    assert _mistakes(_write(tmp_path / "c.toml", text)) == (sentence,)


def test_broken_toml_names_the_line_and_not_what_stands_there(tmp_path: Path) -> None:
    (mistake,) = _mistakes(_write(tmp_path / "c.toml", "[claude]\napi_key = sk-ant-planted\n"))
    assert mistake == f"{tmp_path / 'c.toml'} is not valid TOML: look at line 2."


def test_all_mistakes_come_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCDTASKS_LIMITS__MAX_SESSION", "2")
    monkeypatch.setenv("CCDTASKS_DISCORD_TOKEN", "2")
    path = _write(tmp_path / "c.toml", '[server]\nport = -1\n[storage]\nkind = "s3"\n[log]\nlevle = "x"\n')
    text = "\n".join(_mistakes(path))
    for part in (
        "[server] port must be",
        "[storage] bucket is missing",
        "nearest known key is level.",
        "CCDTASKS_LIMITS__MAX_SESSION is not known; the nearest known one is CCDTASKS_LIMITS__MAX_SESSIONS.",
        "CCDTASKS_DISCORD_TOKEN is not known; the nearest known one is CCDTASKS_DISCORD__TOKEN.",
    ):
        assert part in text
    assert len(text.splitlines()) == 5


def test_secrets_that_everybody_can_read_are_warned_about(tmp_path: Path) -> None:
    inline = _write(tmp_path / "c.toml", '[claude]\napi_key = "a"\n', mode=0o644)
    assert "every user of this machine can read it" in load_config(inline).warnings[0]
    secret = _write(tmp_path / "key", "a", mode=0o644)
    by_file = _write(tmp_path / "d.toml", f'[claude]\napi_key_file = "{secret}"\n', mode=0o644)
    (warning,) = load_config(by_file).warnings
    assert "api_key_file" in warning
    assert load_config(_write(tmp_path / "e.toml", "[limits]\nmax_sessions = 1\n", mode=0o644)).warnings == ()
