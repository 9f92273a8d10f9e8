"""Who is asking: a cookie for each browser, and whether a page of another site made the browser ask."""

from __future__ import annotations

import hashlib
import ipaddress
import re
import secrets
from urllib.parse import urlsplit

from flask import Response, abort, g, request

from web.services import services

COOKIE = "zssr_client"
COOKIE_SECONDS = 365 * 24 * 3600


def identify() -> None:
    """Who asks, and whether a page of another site made the browser ask."""
    token = request.cookies.get(COOKIE, "")
    g.token = token if re.fullmatch(r"[\w-]{43}", token) else None
    changes = request.method not in ("GET", "HEAD", "OPTIONS")
    if changes and not _same_site():
        abort(403, "only pages of this server may do this")
    g.new = g.token is None and request.method == "POST"
    if g.new:
        g.token = secrets.token_urlsafe(32)
    g.client = hashlib.sha256(g.token.encode()).hexdigest() if g.token else ""
    g.address = hashlib.sha256(_network(request.remote_addr or "").encode()).hexdigest()


def remember(response: Response) -> Response:
    """Give a new visitor the cookie."""
    # With a job alone: of two answers at the same time the later one would take the earlier one's jobs away.
    if g.get("new") and request.endpoint == "api.create" and response.status_code < 400:
        secure = services().config.secure
        response.set_cookie(
            COOKIE, g.token, max_age=COOKIE_SECONDS, httponly=True, samesite="Lax", secure=secure, path="/"
        )
    return response


def _network(address: str) -> str:
    """A house has one IPv4 address, or 2 ** 64 of version 6."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((parsed, 64 if parsed.version == 6 else 32), strict=False))


def _same_site() -> bool:
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is None or urlsplit(origin).netloc == request.host
