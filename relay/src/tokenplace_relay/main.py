"""The program: `tokenplace-relay serve` and `tokenplace-relay probe URL`."""

import asyncio
import os
import signal
import sys

import click
import uvloop

from tokenplace_relay.api.app_context import CONTEXT
from tokenplace_relay.app import make_app, make_runner
from tokenplace_relay.drain import drain
from tokenplace_relay.server import gc_policy
from tokenplace_relay.server.listen import site_of
from tokenplace_relay.settings.config import Config, about, load
from tokenplace_relay.settings.setting import About, ConfigError
from tokenplace_relay.telemetry.logs import configure, flush, get

log = get("tokenplace.relay")


@click.group(no_args_is_help=True)
def cli() -> None:
    """Pass ciphertext between clients and compute nodes: the token.place relay."""


def serve(**flags: str | None) -> None:
    """Serve until SIGTERM, then drain. Behind each flag stands the variable it can be given in."""
    try:
        config = load(os.environ, flags)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    configure(config.log_level)
    sys.exit(uvloop.run(_serve(config)))


def _flags() -> list[click.Parameter]:
    """The settings, so that --help lists them all; secrets come without a flag."""
    return [
        click.Option([one.flag, one.field], help=_help(one), metavar=one.variable)
        for one in about()
        if not one.secret
    ]


def _help(one: About) -> str:
    default = f" (default: {one.default})" if one.default else ""
    return f"{one.text}{default}"


def _secrets() -> str:
    """The settings that have no flag, because other users of a machine see command lines."""
    lines = [f"{one.variable}: {one.text}." for one in about() if one.secret]
    return "\n\n".join(["Only in the environment:", *lines])


cli.add_command(
    click.Command("serve", callback=serve, params=_flags(), help=serve.__doc__, epilog=_secrets())
)


@cli.command()
@click.argument("url")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds for the whole probe.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def probe(url: str, timeout: float, *, as_json: bool) -> None:
    """Send one encrypted request through the relay at URL and check the answer."""
    from tokenplace_relay.peers import probe as probing  # noqa: PLC0415 (serving needs no RSA)

    sys.exit(probing.run(url, timeout=timeout, as_json=as_json))


async def _serve(config: Config) -> int:
    app = make_app(config)
    runner = make_runner(app)
    await runner.setup()
    stop = _signals()
    try:
        await site_of(runner, config).start()
    except OSError as error:
        sys.stderr.write(f"cannot listen on {config.host}:{config.port}: {error.strerror}\n")
        await runner.cleanup()
        return 1
    port = runner.addresses[0][1]
    log.info("relay.startup", port=port)
    gc_policy.settle()
    looking = asyncio.create_task(gc_policy.Looks(lambda: app[CONTEXT].state.held_polls).forever())
    await stop.wait()
    await drain(app[CONTEXT])
    looking.cancel()
    await runner.cleanup()
    log.info("relay.shutdown")
    return 0


def _signals() -> asyncio.Event:
    """An event that the first SIGTERM or SIGINT sets; the second one ends the process."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def received(number: signal.Signals) -> None:
        if stop.is_set():
            flush()
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)
    return stop


if __name__ == "__main__":
    cli()
