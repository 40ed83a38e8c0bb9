"""The program `tokenplace-operator`: its commands and flags."""

import asyncio
import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tokenplace_operator import __version__, logs
from tokenplace_operator.kube import upgrade_crd
from tokenplace_operator.kube.errors import KubeError
from tokenplace_operator.lifecycle import operate
from tokenplace_operator.settings import Config, ConfigError, settings


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Add a flag and an environment variable for each setting to a command."""
    # click puts the option that was added last first in --help.
    for setting in reversed(list(settings())):
        option = click.option(
            setting.flag,
            setting.field,
            type=str if setting.is_list else type(setting.default),
            default=setting.default,
            multiple=setting.is_list,
            envvar=setting.variable,
            help=setting.help,
            show_default=not setting.is_list,
            show_envvar=True,
        )
        command = option(command)
    return command


@click.group(no_args_is_help=True)
def cli() -> None:
    """Keep TokenplaceRelay resources running."""


@cli.command()
def version() -> None:
    """Print the version."""
    click.echo(__version__)


@cli.command()
@with_settings
def run(**values: Any) -> None:  # noqa: ANN401 (the types of Config)
    """Run until SIGTERM. Exit code 0 after SIGTERM, 1 when leadership or a watch is lost."""
    try:
        config = Config(**{**values, "log_level": values["log_level"].upper()})
    except ConfigError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(2)
    logs.configure(config.log_level)
    # Imported modules live as long as the process, so the garbage collector can skip them.
    gc.freeze()
    sys.exit(asyncio.run(operate(config)))


@cli.command("upgrade-crd")
@click.argument("path", type=click.Path(path_type=Path))
def upgrade_crd_command(path: Path) -> None:
    """Upgrade the CRD in the cluster to the one in PATH, a JSON file. Exit code 1 on failure."""
    try:
        asyncio.run(upgrade_crd.upgrade(upgrade_crd.read(path)))
    except (ConfigError, KubeError, OSError) as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)
    click.echo(f"{upgrade_crd.NAME} is up to date")
