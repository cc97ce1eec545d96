"""The shop's pages: plain HTML that works without a script."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from ccdtasks.demo.catalog import Product, money, picture

_STYLE = """
:root{--ink:#1c2430;--soft:#5b6676;--line:#e3e7ec;--accent:#14613f}
*{box-sizing:border-box}
body{margin:0;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:#f6f7f9}
a{color:inherit}
header{background:#fff;border-bottom:1px solid var(--line)}
header>div,main,footer{max-width:1080px;margin:auto;padding:14px 20px}
header>div{display:flex;gap:24px;align-items:center;flex-wrap:wrap}
.brand{font-weight:700;font-size:20px;text-decoration:none;color:var(--accent)}
nav a{margin-right:16px;color:var(--soft)}
form.search{display:flex;gap:8px;margin-left:auto}
input{font:inherit;padding:8px 12px;border:1px solid #b9c1cc;border-radius:8px;min-width:220px}
button{font:inherit;padding:8px 16px;border:0;border-radius:8px;background:var(--accent);color:#fff;cursor:pointer}
h1{font-size:26px;margin:18px 0}
.grid{list-style:none;padding:0;display:grid;grid-template-columns:repeat(auto-fill,minmax(220px,1fr));gap:18px}
.card{background:#fff;border:1px solid var(--line);border-radius:14px;overflow:hidden}
.card svg{display:block;width:100%}
.card div{padding:12px 16px 16px}
.card h2{font-size:17px;margin:0}
.price{font-size:20px;font-weight:700;margin:6px 0 0}
.soft,footer{color:var(--soft);font-size:14px}
.one{display:grid;grid-template-columns:minmax(240px,420px) 1fr;gap:32px;background:#fff;border:1px solid var(--line)}
.one{border-radius:14px;padding:24px}
.gate{background:#fff;border:1px solid var(--line);border-radius:14px;padding:24px;max-width:420px}
"""


def _page(title: str, body: str, query: str = "") -> str:
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · Lantern Street Shop</title>
<meta name="viewport" content="width=device-width,initial-scale=1"><link rel="icon" href="data:,">
<style>{_STYLE}</style></head><body>
<header><div><a class="brand" href="/">Lantern Street Shop</a>
<nav aria-label="Shop"><a href="/">All products</a><a href="/members">Members' prices</a></nav>
<form class="search" role="search" action="/search"><input type="search" name="q" aria-label="Search products"
 placeholder="Search products" value="{escape(query)}"><button>Search</button></form></div></header>
<main>{body}</main>
<footer>A demonstration shop. Nothing here can be bought; prices change with each visit.</footer>
</body></html>"""


def product_list(title: str, products: Iterable[Product], visit: int, query: str = "", percent_off: int = 0) -> str:
    """The products as cards, each with its price at this visit."""
    cards = "".join(_card(product, visit, percent_off) for product in products)
    body = f'<ul class="grid">{cards}</ul>' if cards else "<p>Nothing found. Try a shorter word.</p>"
    return _page(title, f"<h1>{escape(title)}</h1>{body}", query)


def _card(product: Product, visit: int, percent_off: int) -> str:
    price = money(product.price_at(visit) * (100 - percent_off) // 100)
    return (
        f'<li class="card"><a href="/product/{product.slug}">{picture(product)}</a><div>'
        f'<h2><a href="/product/{product.slug}">{escape(product.name)}</a></h2>'
        f'<p class="price">{price}</p><p class="soft">{product.kind}</p></div></li>'
    )


def product_page(product: Product, visit: int) -> str:
    """One product, large."""
    body = (
        f'<article class="one">{picture(product)}<div><p class="soft">{product.kind}</p>'
        f"<h1>{escape(product.name)}</h1><p>{escape(product.text)}</p>"
        f'<p class="price">{money(product.price_at(visit))}</p>'
        '<p class="soft">In stock, ships tomorrow.</p></div></article>'
    )
    return _page(product.name, body)


def gate(letters: str, wrong: bool) -> str:
    """The question that only a person is meant to answer: the letters of a crooked picture."""
    glyphs = "".join(
        f'<text x="{24 + 34 * at}" y="{52 + (at % 2) * 12}" transform="rotate({(-1) ** at * 14} {24 + 34 * at} 52)"'
        f' font-size="38" font-family="serif" fill="#33415c">{letter}</text>'
        for at, letter in enumerate(letters)
    )
    lines = '<path d="M0 30Q90 90 190 24M0 70Q80 10 190 74" stroke="#8a97ad" stroke-width="3" fill="none"/>'
    note = '<p role="alert">That was not right. Please look again.</p>' if wrong else ""
    return _page(
        "Are you a person?",
        f'<form class="gate captcha" method="post" action="/members"><h1>Are you a person?</h1>{note}'
        f'<svg viewBox="0 0 190 90" width="190" role="img" aria-label="captcha">{lines}{glyphs}</svg>'
        '<p><label>Letters in the picture<br><input name="letters" autocomplete="off"></label></p>'
        "<button>Continue</button></form>",
    )


def absent() -> str:
    """What stands where there is no page."""
    return _page("Not here", "<h1>This page does not exist</h1><p>Start again at the <a href='/'>front page</a>.</p>")
