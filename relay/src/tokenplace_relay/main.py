"""The command line: `tokenplace-relay serve` and `tokenplace-relay probe URL`."""

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
from tokenplace_relay.server.listen import make_site
from tokenplace_relay.settings.config import Config, about, load
from tokenplace_relay.settings.setting import About, ConfigError
from tokenplace_relay.telemetry.logs import configure, flush, get

log = get("tokenplace.relay")


@click.group(no_args_is_help=True)
def cli() -> None:
    """The token.place relay: passes encrypted requests between clients and compute nodes."""


def serve(**flags: str | None) -> None:
    """Serve until SIGTERM, then drain. Each flag shows its environment variable."""
    try:
        config = load(os.environ, flags)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    configure(config.log_level)
    sys.exit(uvloop.run(_serve(config)))


def _flags() -> list[click.Parameter]:
    """Return a flag per setting; secrets have none."""
    return [
        click.Option([setting.flag, setting.field], help=_help(setting), metavar=setting.variable)
        for setting in about()
        if not setting.secret
    ]


def _help(setting: About) -> str:
    default = f" (default: {setting.default})" if setting.default else ""
    return f"{setting.text}{default}"


def _secrets() -> str:
    """Return the help of the secrets, which have no flag: other users can see command lines."""
    lines = [f"{setting.variable}: {setting.text}." for setting in about() if setting.secret]
    return "\n\n".join(["Only as environment variables:", *lines])


cli.add_command(
    click.Command("serve", callback=serve, params=_flags(), help=serve.__doc__, epilog=_secrets())
)


@cli.command()
@click.argument("url")
@click.option("--timeout", default=30.0, show_default=True, help="Seconds for the whole probe.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def probe(url: str, timeout: float, *, as_json: bool) -> None:
    """Send one encrypted request through the relay at URL and check the answer."""
    from tokenplace_relay.peers import probe as probing  # noqa: PLC0415 (serving does not need RSA)

    sys.exit(probing.run(url, timeout=timeout, as_json=as_json))


async def _serve(config: Config) -> int:
    app = make_app(config)
    runner = make_runner(app)
    await runner.setup()
    # Signals are caught before the relay listens, so that a SIGTERM during the start drains too.
    stop = _signals()
    try:
        await make_site(runner, config).start()
    except OSError as error:
        sys.stderr.write(f"cannot listen on {config.host}:{config.port}: {error.strerror}\n")
        await runner.cleanup()
        return 1
    # With port 0 the system chooses the port, so the log has that of the open socket.
    port = runner.addresses[0][1]
    log.info("relay.startup", port=port)
    gc_policy.configure()
    policy = gc_policy.GCPolicy(lambda: app[CONTEXT].state.held_polls)
    collecting = asyncio.create_task(policy.run())
    await stop.wait()
    await drain(app[CONTEXT])
    collecting.cancel()
    await runner.cleanup()
    log.info("relay.shutdown")
    return 0


def _signals() -> asyncio.Event:
    """Return an event that the first SIGTERM or SIGINT sets; the second ends the process."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def received(number: signal.Signals) -> None:
        if stop.is_set():
            # os._exit runs no exit handlers, so buffered log lines are written first.
            flush()
            os._exit(128 + number)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, received, number)
    return stop


if __name__ == "__main__":
    cli()
