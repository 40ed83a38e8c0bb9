"""Names on the command line: they become part of a URL, so nothing else may stand there."""

import typer

from tokenplace_operator.api.kinds import RELAY, is_label

RULE = "lower-case letters, digits and -, at most 63"

_KINDS = {"tpr", RELAY.kind.lower(), RELAY.plural}
"""As kubectl takes them before a slash, each with and without version and group."""


def relay_name(given: str | None) -> str | None:
    """A name as kubectl takes it, `tpr/relay` too, without the kind; BadParameter for no name."""
    if given is None:
        return None
    kind, slash, name = given.rpartition("/")
    if slash and kind.lower().partition(".")[0] not in _KINDS:
        raise typer.BadParameter(f"{kind}/ is no {RELAY.kind}; give a name, or tpr/NAME")
    if not is_label(name):
        raise typer.BadParameter(f"a name is {RULE}")
    return name


def optional_relay_name(given: str) -> str:
    """The same where the name may be left out."""
    return (relay_name(given) or "") if given else ""


def namespace(given: str) -> str:
    """A namespace, or none; BadParameter for what cannot be one."""
    if given and not is_label(given):
        raise typer.BadParameter(f"a namespace is {RULE}")
    return given
