"""The program: `tokenplace-relay serve` and `tokenplace-relay probe URL`."""

import asyncio
import inspect
import os
import signal
import sys
from typing import Annotated

import typer
import uvloop
from aiohttp import web

from tokenplace_relay import garbage
from tokenplace_relay.app import make_app
from tokenplace_relay.config import Config, about, load
from tokenplace_relay.connections import Runner
from tokenplace_relay.context import CONTEXT
from tokenplace_relay.drain import drain
from tokenplace_relay.logs import configure, flush, get
from tokenplace_relay.settings import About, ConfigError

cli = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    # Boxes would cut long names of variables.
    rich_markup_mode=None,
    # And a traceback of its kind could show values.
    pretty_exceptions_enable=False,
    help="The token.place relay: passes ciphertext between clients and compute nodes.",
)
log = get("tokenplace.relay")


def serve(**flags: str | None) -> None:
    """Serve until SIGTERM, then drain. Behind each flag stands the variable it can be given in."""
    try:
        config = load(os.environ, flags)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        raise typer.Exit(2) from None
    configure(config.log_level)
    raise typer.Exit(uvloop.run(_serve(config)))


def _flags() -> inspect.Signature:
    """The settings as parameters, so that --help lists them all; secrets come without a flag."""
    return inspect.Signature(
        [
            inspect.Parameter(
                one.field,
                inspect.Parameter.KEYWORD_ONLY,
                default=None,
                annotation=Annotated[
                    str | None, typer.Option(one.flag, help=_help(one), metavar=one.variable)
                ],
            )
            for one in about()
            if not one.secret
        ]
    )


def _help(one: About) -> str:
    default = f" (default: {one.default})" if one.default else ""
    return f"{one.text}{default}"


def _secrets() -> str:
    """The settings that have no flag, because other users of a machine see command lines."""
    lines = [f"{one.variable}: {one.text}." for one in about() if one.secret]
    return "\n\n".join(["Only in the environment:", *lines])


# Where typer looks for parameters.
serve.__dict__["__signature__"] = _flags()
cli.command(epilog=_secrets())(serve)


@cli.command()
def probe(
    url: Annotated[str, typer.Argument(help="Base URL of a relay.")],
    timeout: Annotated[float, typer.Option(help="Seconds for the whole probe.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Send one encrypted request through a relay and check the answer."""
    from tokenplace_relay import probe as probing  # noqa: PLC0415 (serving needs no RSA)

    raise typer.Exit(probing.run(url, timeout=timeout, as_json=as_json))


async def _serve(config: Config) -> int:
    app = make_app(config)
    runner = Runner(app, config)
    await runner.setup()
    stop = _signals()
    try:
        site = web.TCPSite(runner, config.host, config.port, backlog=1024)
        await site.start()
    except OSError as error:
        sys.stderr.write(f"cannot listen on {config.host}:{config.port}: {error.strerror}\n")
        await runner.cleanup()
        return 1
    port = runner.addresses[0][1]
    log.info("relay.startup", port=port)
    garbage.settle()
    looking = asyncio.create_task(garbage.Looks(lambda: app[CONTEXT].polls.held).forever())
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
