"""Arguments and options that several commands share, and the checks of names in them."""

import functools
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from tokenplace_operator.api.kinds import RELAY, is_label
from tokenplace_operator.cli.exit_codes import Exit, run_and_exit
from tokenplace_operator.cli.output import Format

OPERATOR_NAMESPACE = "tokenplace-system"
"""The namespace in deploy/operator/."""

NAME_RULE = "lower-case letters, digits and -, at most 63 characters"

_KIND_NAMES = {"tpr", RELAY.kind.lower(), RELAY.plural}
"""The CRD's names that kubectl accepts before a slash, each also with version and group."""


def relay_name(value: str | None) -> str | None:
    """The name of a relay without its kind: `relay` from `tpr/relay`; BadParameter for others.

    Names become part of a URL, so no other character may pass.
    """
    if value is None:
        return None
    # kubectl get -o name prints tokenplacerelay.token.place/NAME; the group is ignored.
    kind, slash, name = value.rpartition("/")
    if slash and kind.lower().partition(".")[0] not in _KIND_NAMES:
        raise typer.BadParameter(f"{kind} is not {RELAY.kind}; give a name, or tpr/NAME")
    if not is_label(name):
        raise typer.BadParameter(f"a name must be {NAME_RULE}")
    return name


def optional_relay_name(value: str) -> str:
    """As `relay_name`, for an argument that may be left out."""
    # typer calls the callback also for the default.
    return (relay_name(value) or "") if value else ""


def namespace_name(value: str) -> str:
    """A namespace, or empty; BadParameter for an invalid one."""
    if value and not is_label(value):
        raise typer.BadParameter(f"a namespace must be {NAME_RULE}")
    return value


RelayName = Annotated[
    str,
    typer.Argument(help="Name of a TokenplaceRelay.", show_default=False, callback=relay_name),
]
Namespace = Annotated[
    str,
    typer.Option(
        "--namespace",
        "-n",
        help="Default: the namespace of the context.",
        show_default=False,
        callback=namespace_name,
    ),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="text, or json for programs.")]
Context = Annotated[str, typer.Option(help="The kubeconfig context to use.", show_default=False)]
Kubeconfig = Annotated[str, typer.Option(help="Path of the kubeconfig file.", show_default=False)]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")]


@dataclass(frozen=True, slots=True)
class Target:
    """The options that choose cluster and namespace; an empty one leaves it to the kubeconfig."""

    context: str = ""
    namespace: str = ""
    kubeconfig: str = ""

    @property
    def kubectl_flags(self) -> list[str]:
        """The same cluster for kubectl; without the namespace."""
        options = {"--context": self.context, "--kubeconfig": self.kubeconfig}
        return [f"{flag}={value}" for flag, value in options.items() if value]


def cluster_command(command: Callable[..., Coroutine[Any, Any, Exit]]) -> Callable[..., None]:
    """Make a typer command of `async def command(target, output, *, its own options) -> Exit`.

    The typer command has the command's own options, then those of `_shared_options`.
    """
    own = [
        parameter
        for parameter in inspect.signature(command).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    ]
    parameters = [*own, *inspect.signature(_shared_options).parameters.values()]

    # wraps keeps the docstring, which typer prints as the help text.
    @functools.wraps(command)
    def wrapper(
        *, namespace: str, output: Format, context: str, kubeconfig: str, **options: object
    ) -> None:
        run_and_exit(command(Target(context, namespace, kubeconfig), output, **options))

    # typer reads the options from the signature and the annotations.
    wrapper.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    wrapper.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapper


def _shared_options(
    *,
    namespace: Namespace = "",
    output: Output = Format.TEXT,
    context: Context = "",
    kubeconfig: Kubeconfig = "",
) -> None:
    """The signature that `cluster_command` adds to each command."""
