"""The HTTP client of podman-py alone: its object model, and `rich` with it, are 4 MB that nothing here calls."""

from __future__ import annotations

import sys
import threading
from importlib.util import find_spec, module_from_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from podman.api.client import APIClient

_ONE_AT_A_TIME = threading.Lock()


def api_client_class() -> type[APIClient]:
    """podman-py's client, loaded when first asked for, from any thread."""
    with _ONE_AT_A_TIME:
        spec = None if "podman" in sys.modules else find_spec("podman")
        if spec is not None:
            sys.modules["podman"] = module_from_spec(spec)  # a package that was not run: running it loads everything
        try:
            from podman.api.client import APIClient  # noqa: PLC0415  only a process with containers needs it
        finally:
            if spec is not None:
                del sys.modules["podman"]  # whoever wants the whole package gets it
    return APIClient
