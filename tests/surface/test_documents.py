"""Documents that lead nowhere, or that nobody is led to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.surface.repository import ROOT, files

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
DOCUMENTS = files("*.md")


def _anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _links(document: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    return [target for target in _LINK.findall(text) if "://" not in target]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_link_leads_somewhere(document: Path) -> None:
    for target in _links(document):
        name, _, anchor = target.partition("#")
        path = (document.parent / name).resolve() if name else document
        assert path.exists(), f"{target} does not exist"
        assert not anchor or anchor in _anchors(path), f"{target} has no such heading"


def test_the_index_leads_to_each_document() -> None:
    index = ROOT / "docs/README.md"
    listed = {(index.parent / link).resolve() for link in _links(index)}
    assert {path for path in files("docs/*.md") if path != index} <= listed
