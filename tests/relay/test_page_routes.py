"""How the relay serves its page: locked down, compressed, and kept by browsers."""

import gzip
import re

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from tokenplace_relay.api.app_context import CONTEXT
from tokenplace_relay.app import make_app
from tokenplace_relay.settings.config import Config

POLICY = {
    "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
    "img-src 'self' data:", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'",
    "require-trusted-types-for 'script'", "trusted-types 'none'",
}  # fmt: skip


async def fetch(
    path: str, method: str = "GET", encoding: str = "br, gzip", **headers: str
) -> tuple[ClientResponse, bytes]:
    """One call to a relay; returns the bytes as they travel."""
    async with TestClient(TestServer(make_app(Config())), auto_decompress=False) as client:
        given = {"Accept-Encoding": encoding, **headers}
        async with client.request(method, path, headers=given) as response:
            return response, await response.read()


async def assets() -> list[str]:
    _, body = await fetch("/", encoding="identity")
    found = re.findall(r'"(/assets/[^"]+)"', body.decode())
    assert len(found) == 3
    return found


async def test_page_is_html_and_asked_for_each_time() -> None:
    response, body = await fetch("/", encoding="identity")
    assert response.status == 200
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert response.headers["Cache-Control"] == "no-cache"
    assert body.startswith(b"<!doctype html>")
    again, nothing = await fetch(
        "/", "GET", "identity", **{"If-None-Match": response.headers["ETag"]}
    )
    assert (again.status, nothing) == (304, b"")
    assert again.headers["ETag"] == response.headers["ETag"]


async def test_assets_are_cached_permanently_under_names_of_their_content() -> None:
    for path in await assets():
        assert re.fullmatch(r"/assets/(app|icon)-[0-9a-f]{12}\.(js|css|svg)", path)
        response, _ = await fetch(path)
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("br, gzip", "br"),
        ("gzip, deflate, br;q=0.5", "br"),
        ("gzip;q=1.0, br;q=0", "gzip"),
        ("GZIP", "gzip"),
        ("deflate", None),
        ("br;q=0.000, gzip;q=0", None),
        ("", None),
    ],
)
async def test_encoding_is_what_the_browser_takes(accepted: str, chosen: str | None) -> None:
    response, body = await fetch("/", encoding=accepted)
    assert response.headers.get("Content-Encoding") == chosen
    assert response.headers["Vary"] == "Accept-Encoding"
    assert len(body) == int(response.headers["Content-Length"])
    if chosen == "gzip":
        assert gzip.decompress(body).startswith(b"<!doctype html>")


async def test_each_encoding_has_a_tag_of_its_own() -> None:
    tags = {
        (await fetch("/", encoding=one))[0].headers["ETag"] for one in ("br", "gzip", "identity")
    }
    assert len(tags) == 3


async def test_head_is_get_without_a_body() -> None:
    for path in ["/", *await assets()]:
        full, _ = await fetch(path)
        head, body = await fetch(path, "HEAD")
        assert (head.status, body) == (200, b"")
        for name in ("ETag", "Content-Length", "Content-Type", "Content-Security-Policy"):
            assert head.headers[name] == full.headers[name]


async def test_every_answer_is_locked_down() -> None:
    for path in ["/", *await assets()]:
        response, _ = await fetch(path)
        assert set(response.headers["Content-Security-Policy"].split("; ")) == POLICY
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Cross-Origin-Opener-Policy"] == "same-origin"
        assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "camera=()" in response.headers["Permissions-Policy"]


@pytest.mark.parametrize(
    "path", ["/assets/none.js", "/assets/index.html", "/assets/..%2fapp.py", "/assets/"]
)
async def test_nothing_else_is_served(path: str) -> None:
    response, body = await fetch(path)
    assert response.status == 404
    assert b'"code":404' in body


async def test_page_is_served_while_the_relay_drains() -> None:
    app = make_app(Config())
    async with TestClient(TestServer(app)) as client:
        app[CONTEXT].draining = app[CONTEXT].refusing = True
        assert (await client.get("/")).status == 200
