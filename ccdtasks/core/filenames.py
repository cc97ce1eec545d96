"""Names of files that strangers chose, as every disk, bucket, browser and screen takes them."""

from __future__ import annotations

import unicodedata
from pathlib import PurePosixPath

from ccdtasks.core.text import clean_line

_STEM_BYTES = 180
_SUFFIX_BYTES = 40
_JOINERS = "\u200c\u200d"  # emoji of several signs, and scripts of India and Persia, fall apart without them
_RESERVED = '/\\:*?"<>|`'
_NO_SIGN = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")  # controls, also those that turn the direction of writing


def free_name(name: str, taken: set[str]) -> str:
    """A file name without folders that is not taken yet: `a.csv`, then `a (2).csv`; at most 255 bytes long.

    Letters and signs of all scripts stay. What turns the direction of writing goes: no `gpj.exe` looks like `exe.jpg`.
    """
    path = PurePosixPath(_visible(clean_line(name, 4000)).replace("\\", "/"))
    ending = _cut("".join(filter(str.isalnum, path.suffix)), _SUFFIX_BYTES)
    suffix = f".{ending}" if ending else ""
    written = "".join("_" if sign in _RESERVED else sign for sign in path.stem)
    stem = _cut(written.strip(" ."), _STEM_BYTES) or "file"
    candidate, number = stem + suffix, 1
    while candidate in taken:
        number += 1
        candidate = f"{stem} ({number}){suffix}"
    return candidate


def folder_name(name: str) -> str:
    """The folder for the files of a task of that name."""
    return free_name(name.replace(".", "_"), set())


def _visible(text: str) -> str:
    """`text` in the usual composition of its letters, without what cannot be seen."""
    text = unicodedata.normalize("NFC", text)
    return "".join(sign for sign in text if sign in _JOINERS or unicodedata.category(sign) not in _NO_SIGN)


def _cut(text: str, limit_bytes: int) -> str:
    """The beginning of `text`, no letter broken."""
    return text.encode()[:limit_bytes].decode(errors="ignore").rstrip(" ." + _JOINERS)
