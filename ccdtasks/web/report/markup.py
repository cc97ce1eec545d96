"""The Markdown of a result as HTML: no raw HTML, no pictures, links to the web alone, and each says where it leads."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from markupsafe import Markup, escape

from ccdtasks.core.text import clean_url
from ccdtasks.web.report.words import tame

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

REL = "noopener noreferrer nofollow"
_BELOW = 2  # the page has headings of its own above
_MOST_BYTES = 150_000


def html_of(markdown: str) -> Markup:
    """The text as HTML. What would become too much is shown as it was written."""
    reader = _reader()
    tokens = reader.parse(tame(markdown))
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, int(token.tag[1:]) + _BELOW)}"
        elif token.type in ("table_open", "table_close"):
            _boxed(token)
        elif token.children:
            token.children = _with_hosts(token.children)
    html: str = reader.renderer.render(tokens, reader.options, {})
    if len(html) > _MOST_BYTES:
        return Markup("<p>{}</p>").format(escape(tame(markdown)))
    return Markup(html)  # noqa: S704  made by the reader, which lets no HTML through


def link_of(url: str, words: Markup) -> Markup:
    """A link to a page out there; only the words for an address that is none."""
    if clean_url(url) is None:
        return words
    return Markup('<a href="{}" rel="{}">{}</a>').format(url, REL, words)


def host_of(url: str) -> str:
    """The host in an address, or nothing."""
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


@cache
def _reader() -> MarkdownIt:
    from markdown_it import MarkdownIt  # noqa: PLC0415  5 MB until somebody reads a summary

    reader = MarkdownIt("js-default", {"html": False, "linkify": False, "typographer": False, "maxNesting": 20})
    reader.enable("table").disable(["image", "html_block", "html_inline"])
    reader.validateLink = lambda url: clean_url(url) is not None  # type: ignore[method-assign]
    reader.add_render_rule(
        "box_open", lambda *_: '<div class="scroll" role="region" aria-label="Table" tabindex="0"><table>'
    )
    reader.add_render_rule("box_close", lambda *_: "</table></div>")
    return reader


def _boxed(token: Token) -> None:
    """A table that is wider than the page scrolls in a box of its own."""
    token.type = token.type.replace("table", "box")


def _names(words: str, host: str) -> bool:
    """Whether the words say the host, and not another one that contains it: "paypal.com" does not say "l.com"."""
    return re.search(rf"(?<![\w.-]){re.escape(host)}(?![\w-]|\.\w)", words.casefold()) is not None


def _with_hosts(children: list[Token]) -> list[Token]:
    """Each link tells search engines and its target nothing; one whose words hide where it leads says it."""
    from markdown_it.token import Token  # noqa: PLC0415  with the reader

    told: list[Token] = []
    words, url = "", ""
    for child in children:
        if child.type == "link_open":
            words, url = "", str(child.attrGet("href") or "")
            child.attrSet("rel", REL)
        elif child.type in ("text", "code_inline"):
            words += child.content
        told.append(child)
        host = host_of(url)
        if child.type == "link_close" and host and not _names(words, host):
            note: dict[str, Any] = {"content": f" ({host})"}
            told.append(Token("text", "", 0, **note))
    return told
