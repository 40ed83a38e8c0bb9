"""Serves the chat page: files are read once, and sent compressed with security headers."""

from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from aiohttp import web

from tokenplace_relay.server.response import ApiError

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "svg": "image/svg+xml; charset=utf-8",
}
_ENCODINGS: Final = {"br": ".br", "gzip": ".gz"}
"""Encoding -> suffix of its file; the smallest first."""

_SOURCES: Final = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "connect-src": "'self'",
    "img-src": "'self' data:",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
_SECURITY: Final = {
    "Content-Security-Policy": "; ".join(
        f"{directive} {sources}" for directive, sources in _SOURCES.items()
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_IMMUTABLE: Final = "public, max-age=31536000, immutable"
"""For assets, whose names contain the hash of their content."""


@dataclass(frozen=True, slots=True)
class _File:
    """One file of the page in every encoding; "" is the uncompressed one."""

    content_type: str
    bodies: dict[str, bytes]
    digest: str


def routes() -> list[web.RouteDef]:
    """Return the routes of the page and its assets; reads all files now."""
    assets = _read(files("tokenplace_relay") / "page")
    index = assets.pop("index.html")
    return [
        web.get("/", partial(_page, index)),
        web.get("/assets/{name}", partial(_asset, assets)),
    ]


async def _page(index: _File, request: web.Request) -> web.Response:
    """GET /: the page; browsers revalidate it each time."""
    return _serve(request, index, "no-cache")


async def _asset(assets: dict[str, _File], request: web.Request) -> web.Response:
    """GET /assets/NAME: script, style or icon; browsers cache it indefinitely."""
    file = assets.get(request.match_info["name"])
    if file is None:
        raise ApiError(404, "Not Found")
    return _serve(request, file, _IMMUTABLE)


def _serve(request: web.Request, file: _File, caching: str) -> web.Response:
    encoding = _best(request.headers.get("Accept-Encoding", ""))
    # A strong ETag names exact bytes (RFC 9110), so each encoding has its own.
    tag = f"{file.digest}-{encoding or 'plain'}"
    headers = {**_SECURITY, "Cache-Control": caching, "Vary": "Accept-Encoding"}
    if any(etag.value in (tag, "*") for etag in request.if_none_match or ()):
        response = web.Response(status=304, headers=headers)
    else:
        headers["Content-Type"] = file.content_type
        if encoding:
            headers["Content-Encoding"] = encoding
        response = web.Response(body=file.bodies[encoding], headers=headers)
    response.etag = tag
    return response


def _best(accepted: str) -> str:
    """Return the smallest encoding that a browser accepts; "" for none."""
    offers = [offer.replace(" ", "").lower().partition(";q=") for offer in accepted.split(",")]
    # All forms of q=0 strip to an empty text: the browser refuses that encoding.
    accepts = {name for name, _, weight in offers if weight.strip("0.") or not weight}
    return next((name for name in _ENCODINGS if name in accepts), "")


def _read(folder: Traversable) -> dict[str, _File]:
    contents = {file.name: file.read_bytes() for file in folder.iterdir()}
    return {
        name: _File(
            content_type=_TYPES[name.rpartition(".")[2]],
            bodies={
                "": body,
                **{encoding: contents[name + end] for encoding, end in _ENCODINGS.items()},
            },
            digest=sha256(body).hexdigest()[:16],
        )
        for name, body in contents.items()
        if not name.endswith(tuple(_ENCODINGS.values()))
    }
