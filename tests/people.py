"""Who acts in the tests."""

from __future__ import annotations

from ccdtasks.core.access import Actor

ANN = Actor("1001", "discord")
BOB = Actor("1002", "discord")
ADMIN = Actor("9000", "discord", is_admin=True)
