from __future__ import annotations

from pathlib import Path

import pytest

from session.files import FileError, OutFolder


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "work").mkdir()
    (tmp_path / "out").mkdir()
    return tmp_path / "work"


@pytest.fixture
def out(work: Path) -> OutFolder:
    return OutFolder(work.parent / "out", work, 100)


def test_a_file_is_copied_and_given_again_replaces_itself(work: Path, out: OutFolder) -> None:
    (work / "prices.csv").write_text("1")
    assert out.give("prices.csv") == ("prices.csv", 1)
    (work / "prices.csv").write_text("22")
    assert out.give(str(work / "prices.csv")) == ("prices.csv", 2)
    assert (work.parent / "out/prices.csv").read_text() == "22"


def test_files_of_one_name_and_our_own_names_do_not_collide(work: Path, out: OutFolder) -> None:
    for folder in ("a", "b"):
        (work / folder).mkdir()
        (work / folder / "x.csv").write_text(folder)
    (work / "final.png").write_text("mine")
    assert out.give("a/x.csv")[0] == "x.csv"
    assert out.give("b/x.csv")[0] == "x-2.csv"
    assert out.give("final.png")[0] == "final-2.png"


def test_what_is_not_a_file_of_the_working_folder_is_refused(work: Path, out: OutFolder) -> None:
    (work / "link").symlink_to("/etc/passwd")
    (work / "folder").mkdir()
    (work / "big").write_bytes(b"x" * 101)
    for name, complaint in {
        "gone.csv": "it holds: big, folder, link",
        "link": "not in the working folder",
        "../../etc/passwd": "not in the working folder",
        "folder": "is not a file",
        "big": "only 100 bytes",
        "": "named by its path",
    }.items():
        with pytest.raises(FileError, match=complaint):
            out.give(name)


def test_what_a_broken_session_gathered_is_kept_as_far_as_there_is_room(work: Path, out: OutFolder) -> None:
    (work / "a.csv").write_bytes(b"x" * 60)
    (work / "b.csv").write_bytes(b"x" * 60)
    (work / "c.csv").write_bytes(b"x" * 10)
    (work / ".hidden").write_text("x")
    (work / "given.csv").write_text("x")
    out.give("given.csv")
    assert out.rescue() == ["a.csv", "c.csv"]
