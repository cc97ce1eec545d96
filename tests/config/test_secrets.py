"""Whatever is wrong with a configuration, no error and no warning shows a secret that stands in it."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ccdtasks.config import load_config
from ccdtasks.config.keys import TABLES
from ccdtasks.errors import CcdError

PLANTED = "sk-ant-PLANTED0"
KEYS = [(table, key) for table, keys in TABLES.items() for key in keys]
SECRETS = [(table, key) for table, keys in TABLES.items() for key, secret in keys.items() if secret]

places = st.sampled_from(KEYS)
wrappings = st.sampled_from(
    [
        f'"{PLANTED}"',
        f'"{PLANTED} with spaces"',
        f'["{PLANTED}"]',
        f'{{x = "{PLANTED}"}}',
        PLANTED,
        f'"{PLANTED}',
        f'"{PLANTED}\\q"',
        f"'''{PLANTED}",
        f'"http://{PLANTED}:x@[::1"',
        f'"mysql://u:{PLANTED}@host/name"',
        f'"{PLANTED}"\n"{PLANTED}" = 1\n"{PLANTED}" = 2',
        f'"{PLANTED}"\n[{PLANTED}]\n{PLANTED} = 1\n[{PLANTED}]\n[[{PLANTED}]]',
    ]
)
lines = st.tuples(places, st.sampled_from(["", "_file", "_fiel", "x"]), wrappings)


def _told(path: Path) -> str:
    """All that a user or a log could get to see."""
    try:
        loaded = load_config(path)
    except CcdError as error:
        return f"{error}\n{error!r}\n" + "".join(traceback.format_exception(error))
    return f"{loaded!r}\n{loaded.warnings}"


@given(st.lists(lines, min_size=1, max_size=6), st.sampled_from(["", f"{PLANTED} = 1\n", f"{PLANTED}\n"]))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_no_file_makes_us_tell_a_secret(
    tmp_path: Path, found: list[tuple[tuple[str, str], str, str]], head: str
) -> None:
    text = head + "".join(f"[{table}]\n{key}{suffix} = {value}\n" for (table, key), suffix, value in found)
    path = tmp_path / "c.toml"
    path.write_text(text)
    secret_like = {f"{table}.{key}" for (table, key), _, _ in found}
    told = _told(path)
    # A plain value that was accepted (a bucket's name) may show in the configuration itself, never in an error.
    if not told.startswith("LoadedConfig") or secret_like <= {f"{table}.{key}" for table, key in SECRETS}:
        assert PLANTED not in told


@given(
    places,
    st.sampled_from(["", "_FILE", "X", "__X"]),
    st.sampled_from([PLANTED, f"{PLANTED} {PLANTED}", f"http://{PLANTED}@[", f'["{PLANTED}"']),
)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_no_variable_makes_us_tell_a_secret(tmp_path: Path, place: tuple[str, str], suffix: str, value: str) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[limits]\nmax_sessions = 0\n")  # so that there is always an error to look at
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("CCDTASKS_")]:
            patch.delenv(name)
        patch.setenv(f"CCDTASKS_{place[0].upper()}__{place[1].upper()}{suffix}", value)
        told = _told(path)
    assert "max_sessions" in told
    assert PLANTED not in told


def test_a_read_secret_is_not_shown_by_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("".join(f'[{table}]\n{key} = "{PLANTED}"\n' for table, key in SECRETS if table == "pushover"))
    assert PLANTED not in _told(path)
