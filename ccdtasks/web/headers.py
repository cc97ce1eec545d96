"""Headers of every answer: nothing of ours is framed, sniffed, kept by caches, or loads anything from elsewhere."""

from __future__ import annotations

from aiohttp import web

from ccdtasks.web.visitors import is_https

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)

HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}
"""A handler that sets one of these itself is stricter, or knows why not."""

_A_YEAR_OF_HTTPS = "max-age=31536000"


async def secure(request: web.Request, response: web.StreamResponse) -> None:
    """Adds the headers that the handler did not set."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = "ccdtasks"
    if is_https(request):
        response.headers.setdefault("Strict-Transport-Security", _A_YEAR_OF_HTTPS)
