"""The instance's key, what it signs and what it encrypts."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ccdtasks.core.vault import BadLink, ExpiredLink, Vault
from ccdtasks.errors import Unavailable

NOW = datetime(2026, 1, 17, 15, 30, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "secret.key"


@pytest.fixture
def vault(path: Path) -> Vault:
    return Vault(path)


def test_what_was_signed_comes_back_until_it_expires(vault: Vault) -> None:
    token = vault.sign("run", "grüße/1", LATER)
    assert vault.read("run", token, LATER - timedelta(seconds=1)) == "grüße/1"
    with pytest.raises(ExpiredLink, match="expired"):
        vault.read("run", token, LATER)


def test_a_token_is_good_for_its_purpose_only(vault: Vault) -> None:
    with pytest.raises(BadLink, match="not valid"):
        vault.read("session", vault.sign("run", "1", LATER), NOW)


def test_a_token_that_was_changed_anywhere_is_refused(vault: Vault) -> None:
    token = vault.sign("run", "1", LATER)
    for at, sign in enumerate(token):
        changed = token[:at] + ("A" if sign != "A" else "B") + token[at + 1 :]
        with pytest.raises(BadLink):
            vault.read("run", changed, NOW)


@pytest.mark.parametrize("token", ["", "a", "=", "ä", "\x00", "A" * 43, "A" * 100_000, "../..", "AAAA AAAA", "A\n"])
def test_rubbish_is_no_token(vault: Vault, token: str) -> None:
    with pytest.raises(BadLink):
        vault.read("run", token, NOW)


def test_a_token_has_one_way_to_be_written(vault: Vault) -> None:
    token = vault.sign("run", "1", LATER)
    for other in (token + "=", token + "\n", " " + token, token + "A"):
        with pytest.raises(BadLink):
            vault.read("run", other, NOW)


def test_the_key_is_made_once_and_for_its_user_alone(path: Path, vault: Vault) -> None:
    token = vault.sign("run", "1", LATER)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["secret.key"]
    assert Vault(path).read("run", token, NOW) == "1"


def test_many_who_need_the_key_first_get_the_same(path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        tokens = list(pool.map(lambda _: Vault(path).sign("run", "1", LATER), range(64)))
    assert len(set(tokens)) == 1


def test_what_is_encrypted_says_nothing_and_comes_back(path: Path, vault: Vault) -> None:
    kept = vault.encrypt("uQiRzpo4DXghDmr9QzzfQu27cmVRsG")
    assert "uQiRzpo4" not in kept
    assert Vault(path).decrypt(kept) == "uQiRzpo4DXghDmr9QzzfQu27cmVRsG"
    assert vault.encrypt("uQiRzpo4DXghDmr9QzzfQu27cmVRsG") != kept


def test_a_lost_key_ends_links_and_says_what_to_do_about_the_rest(path: Path, vault: Vault) -> None:
    token, kept = vault.sign("run", "1", LATER), vault.encrypt("mine")
    path.unlink()
    with pytest.raises(BadLink):
        Vault(path).read("run", token, NOW)
    with pytest.raises(Unavailable, match=r"another key .* \(put the key file of that time back"):
        Vault(path).decrypt(kept)


def test_changed_cipher_text_is_refused(vault: Vault) -> None:
    kept = vault.encrypt("mine")
    for bad in (kept[:-4], kept[:20] + "AAAA" + kept[24:], "", "mine"):
        with pytest.raises(Unavailable):
            vault.decrypt(bad)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(path: Path, vault: Vault, mode: int) -> None:
    vault.check()
    path.chmod(mode)
    with pytest.raises(Unavailable, match=r"Other users .* \(chmod 600"):
        Vault(path).check()


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 33])
def test_a_damaged_key_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Unavailable, match="damaged"):
        Vault(path).check()
    assert path.read_bytes() == content


def test_what_is_no_file_of_ours_is_refused(path: Path, tmp_path: Path) -> None:
    path.mkdir()
    with pytest.raises(Unavailable, match="is not a file"):
        Vault(path).check()
    path.rmdir()
    os.mkfifo(path, 0o600)
    with pytest.raises(Unavailable, match="is not a file"):
        Vault(path).check()
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(b"x" * 32)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="cannot be read"):
        Vault(path).check()


def test_nobody_pays_for_encryption_who_only_signs() -> None:
    probe = "import sys, ccdtasks.core.vault; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
