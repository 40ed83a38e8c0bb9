"""The release that is running: environment, version and revision, as promotion checks read them."""

from typing import Final

from tokenplace_relay import __version__
from tokenplace_relay.settings.config import Config

_SHORT: Final = {
    "DEV": "dev", "DEVELOPMENT": "dev", "STAGE": "staging", "STAGING": "staging", "PROD": "prod",
    "PRODUCTION": "prod",
}  # fmt: skip
_HOSTS: Final = {"token.place": "prod", "staging.token.place": "staging"}
_REVISION_LENGTH: Final = 12


def version(config: Config) -> str:
    """Return the released version, or else the version of this package."""
    return config.release_version or __version__


def revision(config: Config) -> str:
    """Return the commit of the build, or else its image tag; '' if neither is known."""
    return config.git_sha[:_REVISION_LENGTH] or config.image_tag


def metadata(config: Config, host: str) -> dict[str, str]:
    """Return exactly the keys that token.place's promotion check allows; host: the Host header."""
    environment = _SHORT.get(config.deploy_env) or _HOSTS.get(_name(host), "dev")
    result: dict[str, str] = {
        "environment": environment,
        "version": version(config),
        "label": f"{environment} {version(config)}",
    }
    if revision(config):
        result["ref"] = revision(config)
    return result


def _name(host: str) -> str:
    return host.strip().lower().partition(":")[0]
