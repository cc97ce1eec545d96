"""The shell: `ccdtasks VERB ...`. Each verb parses, makes one call of the core, and shows what came back."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Runs one verb and exits with its code (docs/shell.md)."""
    from ccdtasks.cli.outcome import run

    sys.exit(run(sys.argv[1:] if argv is None else argv))
