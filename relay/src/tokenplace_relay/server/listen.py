"""Where the relay listens."""

import socket
from typing import Final

from aiohttp import web

from tokenplace_relay.settings.config import Config

EVERY_ADDRESS: Final = "::"
BACKLOG: Final = 1024
"""Connections that wait to be accepted."""


def site_of(runner: web.AppRunner, config: Config) -> web.BaseSite:
    """The site to start; OSError when the address is not to be had, here or when it starts."""
    if config.host == EVERY_ADDRESS:
        return web.SockSite(runner, listen_everywhere(config.port), backlog=BACKLOG)
    return web.TCPSite(runner, config.host, config.port, backlog=BACKLOG)


def listen_everywhere(port: int) -> socket.socket:
    """A socket for both families; for IPv4 alone where the kernel has no IPv6.

    asyncio, asked for `::`, makes one for IPv6 alone.
    """
    if not socket.has_dualstack_ipv6():
        return socket.create_server(("", port), backlog=BACKLOG)
    return socket.create_server(
        ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
    )
