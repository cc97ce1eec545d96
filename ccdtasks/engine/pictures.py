"""Whether a file is the picture that its name says: nothing else is ever shown as one."""

from __future__ import annotations

import os

_HEAD_BYTES = 16


def is_picture(descriptor: int) -> bool:
    """By its first bytes: PNG, JPEG or WebP."""
    head = os.pread(descriptor, _HEAD_BYTES, 0)
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return is_webp or head.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"))
