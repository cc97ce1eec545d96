"""The web part: pages for people, an API for programs, health for machines.

A module with pages or routes of its own has `ROUTES`, and `server` names it.
"""

from __future__ import annotations

from ccdtasks.web.server import open_web

__all__ = ["open_web"]
