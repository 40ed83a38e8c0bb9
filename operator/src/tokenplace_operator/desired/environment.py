"""The environment variables of the relay container."""

from __future__ import annotations

from tokenplace_operator.api.kinds import Object
from tokenplace_operator.api.spec.gpu import GpuMode
from tokenplace_operator.api.spec.monitoring import SecretKey
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.api.spec.relay_settings import (
    LOG_LEVEL,
    OPERATOR_TOKEN,
    PUBLIC_URL,
    REGISTRATION_TOKEN,
    REQUIRE_UPSTREAM,
)
from tokenplace_operator.observe.facts import Facts

METRICS_TOKEN = "TOKENPLACE_METRICS_TOKEN"  # noqa: S105 (a variable's name)
METRICS_DISABLED = "TOKENPLACE_METRICS_DISABLED"

ANY_IPV4 = "0.0.0.0"  # noqa: S104 (in the pod; the NetworkPolicy restricts access)
ANY_ADDRESS = "::"


def environment(relay: Relay, facts: Facts) -> list[Object]:
    """Return every variable: plain values first, then those from Secrets."""
    values = {
        # Older relays bind `::` for IPv6 only.
        "RELAY_HOST": ANY_ADDRESS if facts.begins_with_ipv6 else ANY_IPV4,
        "RELAY_PORT": str(relay.port),
        "RELAY_DRAIN_DELAY_SECONDS": str(relay.drain.delay_seconds),
        "RELAY_DRAIN_TIMEOUT_SECONDS": str(relay.drain.timeout_seconds),
        **_gpu(relay),
        **_settings(relay),
    }
    secrets = {
        REGISTRATION_TOKEN: relay.settings.registration_token,
        OPERATOR_TOKEN: relay.settings.operator_token,
        METRICS_TOKEN: relay.monitoring.token,
    }
    # Secrets are references only: their values must not appear in the Deployment.
    return [
        *({"name": name, "value": value} for name, value in values.items()),
        *(_from_secret(name, secret) for name, secret in secrets.items() if secret is not None),
    ]


def _from_secret(name: str, secret: SecretKey) -> Object:
    reference = {"name": secret.name, "key": secret.key}
    return {"name": name, "valueFrom": {"secretKeyRef": reference}}


def _gpu(relay: Relay) -> dict[str, str]:
    gpu = relay.gpu
    # A URL without a Service behind it would report a fault that does not exist.
    if gpu.mode is GpuMode.NONE:
        return {}
    # The Service's name, not gpu.host: the URL stays the same when the host changes, so pods are
    # not restarted.
    values = {"TOKENPLACE_RELAY_UPSTREAM_URL": f"http://{gpu.service_name}:{gpu.port}"}
    if gpu.mode is GpuMode.EXTERNAL_NAME:
        values |= {"TOKENPLACE_GPU_HOST": gpu.host, "TOKENPLACE_GPU_PORT": str(gpu.port)}
    return values


def _settings(relay: Relay) -> dict[str, str]:
    """Only settings that differ from the relay's defaults.

    /metrics is off unless spec.monitoring uses it, because an Ingress would publish it.
    """
    settings = relay.settings
    texts = {
        LOG_LEVEL: settings.log_level if settings.log_level != "INFO" else "",
        PUBLIC_URL: relay.public_url,
        REQUIRE_UPSTREAM: "1" if settings.require_upstream_health else "",
        METRICS_DISABLED: "" if relay.monitoring.is_scraped else "1",
    }
    numbers = {name: str(number) for name, number in settings.numbers}
    return {name: text for name, text in texts.items() if text} | numbers
