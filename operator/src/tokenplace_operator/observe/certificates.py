"""The certificate of an Ingress: what cert-manager says of it, or the user's own Secret does.

A Secret is read only when the user names it as their own, by its name, and only if somebody gave
the operator that right; the shipped roles do not. Nothing of it is kept but names and dates.
"""

import asyncio
import base64
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from tokenplace_operator.api.conditions import find
from tokenplace_operator.api.kinds import CERTIFICATE, Key, Kind, Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.kube.errors import Forbidden, KubeError, NotFound

if TYPE_CHECKING:
    from cryptography import x509

SECRET = Kind("", "v1", "secrets", "Secret")
PENDING_SECONDS = 60.0
SETTLED_SECONDS = 600.0
MAX_RELAYS = 4096


class CertificateState(StrEnum):
    """What is known of a certificate."""

    VALID = "valid"
    NOT_READY = "not ready"
    """cert-manager has not issued it; the text says why."""
    MISSING = "missing"
    NOT_SERVED = "not served"
    """The cluster has no cert-manager; every relay is told at once when it comes."""
    UNREADABLE = "unreadable"
    """The operator lacks the right, or there was no answer."""
    BROKEN = "broken"
    """The Secret holds no certificate."""


@dataclass(frozen=True, slots=True)
class CertificateInfo:
    """since, until: its validity. names: what it is good for. None or empty when not known."""

    state: CertificateState
    text: str = ""
    since: datetime | None = None
    until: datetime | None = None
    names: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """How long it is known before it is looked at again."""
        pending = self.state in {CertificateState.NOT_READY, CertificateState.MISSING}
        return PENDING_SECONDS if pending else SETTLED_SECONDS


class Getter(Protocol):
    """The call of `Kube` that looking needs."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Read one object."""
        ...


class Certificates:
    """Looks at certificates, at one that is not ready more often than at one that is."""

    def __init__(self, kube: Getter, clock: Callable[[], float]) -> None:
        self._kube = kube
        self._clock = clock
        self._known: dict[tuple[Key, bool], tuple[float, CertificateInfo]] = {}

    async def read(self, relay: Relay, *, served: bool = True) -> CertificateInfo | None:
        """The certificate of the relay's Ingress; None when it has none.

        served: whether the cluster has cert-manager's kind now.
        """
        tls = relay.ingress.tls
        if not relay.ingress.effective_hosts or not tls.enabled:
            return None
        managed = bool(tls.cluster_issuer or tls.issuer)
        key = relay.namespace, relay.tls_secret_name
        if managed and not served:
            self._known.pop((key, managed), None)
            return CertificateInfo(CertificateState.NOT_SERVED)
        due, known = self._known.get((key, managed), (float("-inf"), None))
        if known is not None and self._clock() < due:
            return known
        found = await (self._of_cert_manager(key) if managed else self._of_user(key))
        if len(self._known) >= MAX_RELAYS:
            self._known.clear()
        self._known[key, managed] = self._clock() + found.seconds, found
        return found

    async def _of_cert_manager(self, key: Key) -> CertificateInfo:
        """The Certificate that cert-manager makes for an Ingress has the name of its Secret."""
        try:
            return _of_status(await self._kube.get(CERTIFICATE, *key))
        except NotFound:
            return CertificateInfo(CertificateState.MISSING)
        except KubeError as error:
            return CertificateInfo(CertificateState.UNREADABLE, error.reason)

    async def _of_user(self, key: Key) -> CertificateInfo:
        try:
            secret = await self._kube.get(SECRET, *key)
        except NotFound:
            return CertificateInfo(CertificateState.MISSING)
        except Forbidden:
            return CertificateInfo(
                CertificateState.UNREADABLE, "the operator has no right to read it"
            )
        except KubeError as error:
            return CertificateInfo(CertificateState.UNREADABLE, error.reason)
        return await asyncio.to_thread(_of_secret, secret)


def _of_status(certificate: Object) -> CertificateInfo:
    status = certificate.get("status", {})
    ready = find(status.get("conditions", []), "Ready")
    names = tuple(certificate.get("spec", {}).get("dnsNames", []))
    if ready.get("status") != "True":
        text = str(ready.get("message") or "it has not been issued yet")[:500]
        return CertificateInfo(CertificateState.NOT_READY, text, names=names)
    since, until = (_time(status.get(name)) for name in ("notBefore", "notAfter"))
    return CertificateInfo(CertificateState.VALID, since=since, until=until, names=names)


def _of_secret(secret: Object) -> CertificateInfo:
    """Only the certificate is decoded; the private key beside it is dropped with the object."""
    # 10 MB of memory that most operators never need: the shipped roles let none read a Secret.
    from cryptography import x509  # noqa: PLC0415

    text = secret.get("data", {}).get("tls.crt", "")
    try:
        found = x509.load_pem_x509_certificate(_decoded(text))
        names = _names(found)
    except (
        ValueError,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ):
        return CertificateInfo(CertificateState.BROKEN)
    since, until = found.not_valid_before_utc, found.not_valid_after_utc
    return CertificateInfo(CertificateState.VALID, since=since, until=until, names=names)


def _names(certificate: "x509.Certificate") -> tuple[str, ...]:
    from cryptography import x509  # noqa: PLC0415 (as above)

    try:
        extensions = certificate.extensions
        found = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(found.value.get_values_for_type(x509.DNSName))


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
