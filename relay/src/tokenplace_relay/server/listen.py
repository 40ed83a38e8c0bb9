"""Opens the relay's listening socket."""

import socket
from typing import Final

from aiohttp import web

from tokenplace_relay.settings.config import Config

EVERY_ADDRESS: Final = "::"
BACKLOG: Final = 1024
"""Connections that may wait to be accepted."""


def make_site(runner: web.AppRunner, config: Config) -> web.BaseSite:
    """Return the site to start; the address may raise OSError here or when the site starts."""
    if config.host == EVERY_ADDRESS:
        return web.SockSite(runner, listen_everywhere(config.port), backlog=BACKLOG)
    return web.TCPSite(runner, config.host, config.port, backlog=BACKLOG)


def listen_everywhere(port: int) -> socket.socket:
    """Return a socket for IPv4 and IPv6, or for IPv4 alone where the kernel has no IPv6.

    asyncio itself would make a socket for `::` that takes IPv6 alone.
    """
    if not socket.has_dualstack_ipv6():
        return socket.create_server(("", port), backlog=BACKLOG)
    return socket.create_server(
        ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
    )
