"""The certificate of an Ingress: from cert-manager's Certificate, or from the user's own Secret.

A Secret is read only when the user names it in the spec, and only where an administrator has
granted that right: the shipped roles do not. Only its names and dates are kept.
"""

import asyncio
import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from tokenplace_operator.api.conditions import find
from tokenplace_operator.api.kinds import CERTIFICATE, Key, Kind, Object
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.bounded import BoundedDict
from tokenplace_operator.kube.errors import Forbidden, KubeError, NotFound
from tokenplace_operator.observe.facts import CertificateInfo, CertificateState

if TYPE_CHECKING:
    from cryptography import x509

SECRET = Kind("", "v1", "secrets", "Secret")


class Getter(Protocol):
    """The call of `Kube` that reads an object."""

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        """Read one object."""
        ...


class Certificates:
    """Reads certificates, a pending one more often than an issued one."""

    def __init__(self, kube: Getter, clock: Callable[[], float]) -> None:
        self._kube = kube
        self._clock = clock
        self._infos: BoundedDict[tuple[Key, bool], tuple[float, CertificateInfo]] = BoundedDict()

    async def read(self, relay: Relay, *, served: bool = True) -> CertificateInfo | None:
        """The certificate of the relay's Ingress; None when it has no TLS.

        served: whether the cluster serves cert-manager's Certificate now.
        """
        tls = relay.ingress.tls
        if not relay.ingress.effective_hosts or not tls.enabled:
            return None
        managed = bool(tls.cluster_issuer or tls.issuer)
        key = relay.namespace, relay.tls_secret_name
        if managed and not served:
            # Read at once when cert-manager appears: a cached state would delay that.
            self._infos.pop((key, managed), None)
            return CertificateInfo(CertificateState.NOT_SERVED)
        due, info = self._infos.get((key, managed), (float("-inf"), None))
        if info is not None and self._clock() < due:
            return info
        info = await (self._of_cert_manager(key) if managed else self._of_user(key))
        self._infos[key, managed] = self._clock() + info.seconds, info
        return info

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
            text = "the operator has no right to read it"
            return CertificateInfo(CertificateState.UNREADABLE, text)
        except KubeError as error:
            return CertificateInfo(CertificateState.UNREADABLE, error.reason)
        # In a thread: the import and the parsing would block the event loop.
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
    """Decode the certificate only; the private key next to it is dropped with the object."""
    # Imported here: it takes 10 MB, and with the shipped roles no operator reads a Secret.
    from cryptography import x509  # noqa: PLC0415

    text = secret.get("data", {}).get("tls.crt", "")
    try:
        certificate = x509.load_pem_x509_certificate(_decoded(text))
        names = _names(certificate)
    except (
        ValueError,
        x509.DuplicateExtension,
        x509.InvalidVersion,
        x509.UnsupportedGeneralNameType,
    ):
        return CertificateInfo(CertificateState.BROKEN)
    since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return CertificateInfo(CertificateState.VALID, since=since, until=until, names=names)


def _names(certificate: "x509.Certificate") -> tuple[str, ...]:
    from cryptography import x509  # noqa: PLC0415 (as above)

    try:
        extensions = certificate.extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(names.value.get_values_for_type(x509.DNSName))


def _decoded(text: str) -> bytes:
    return base64.b64decode(text, validate=True)


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None
