"""CertificateReady: whether the Ingress has a certificate for its hosts, and for how many days."""

from datetime import timedelta

from tokenplace_operator.api.conditions import Reason, counted, text_time
from tokenplace_operator.api.spec.relay import Relay
from tokenplace_operator.observe.facts import CertificateInfo, CertificateState
from tokenplace_operator.status.observed import ConditionState, Observed

EXPIRY_WARNING_DAYS = 14
"""cert-manager renews earlier, so fewer days mean that renewal fails."""


def certificate_ready(relay: Relay, observed: Observed) -> ConditionState | None:
    """Return the condition CertificateReady; None without an Ingress or without TLS."""
    certificate = observed.certificate
    if certificate is None:
        return None
    tls = relay.ingress.tls
    is_managed = bool(tls.cluster_issuer or tls.issuer)
    name = relay.tls_secret_name
    subject = f"Certificate {name}" if is_managed else f"Secret {name}"
    if certificate.state is CertificateState.VALID:
        return _valid(relay, observed, certificate, subject)
    if certificate.state is CertificateState.NOT_READY:
        text = (
            f"{subject} is not issued: {certificate.text}. See kubectl describe certificate {name}."
        )
        return ConditionState(False, Reason.CERTIFICATE_PENDING, text)
    if certificate.state is CertificateState.BROKEN:
        text = f"{subject} has no readable PEM certificate in tls.crt. {_create(name)}"
        return ConditionState(False, Reason.TLS_SECRET_INVALID, text)
    if certificate.state in {CertificateState.MISSING, CertificateState.NOT_SERVED}:
        return _not_found(subject, name, is_managed=is_managed)
    # Unknown and not False: a missing right of the operator does not make the certificate bad.
    text = (
        f"{subject} cannot be read: {certificate.text}. Its expiry is unknown; "
        "check it yourself, or give the operator the right to read it."
    )
    return ConditionState(None, Reason.CERTIFICATE_UNREADABLE, text)


def _not_found(subject: str, name: str, *, is_managed: bool) -> ConditionState:
    """A Certificate is missing for a moment at every start; a missing Secret is a mistake."""
    if is_managed:
        text = f"{subject} does not exist. Check that cert-manager and its issuer are installed."
        return ConditionState(False, Reason.CERTIFICATE_NOT_FOUND, text)
    text = f"{subject} does not exist. {_create(name)}"
    return ConditionState(False, Reason.TLS_SECRET_NOT_FOUND, text)


def _create(name: str) -> str:
    return f"Create it with kubectl create secret tls {name}."


def _valid(
    relay: Relay, observed: Observed, certificate: CertificateInfo, subject: str
) -> ConditionState:
    uncovered = _uncovered_hosts(relay, certificate.names)
    if uncovered:
        text = f"{subject} does not cover {', '.join(uncovered)}. Issue one for every host."
        return ConditionState(False, Reason.CERTIFICATE_HOST_MISMATCH, text)
    if certificate.since is not None and observed.now < certificate.since:
        text = (
            f"{subject} is not valid before {text_time(certificate.since)}. "
            "Check the clocks, or renew it."
        )
        return ConditionState(False, Reason.CERTIFICATE_NOT_YET_VALID, text)
    if certificate.until is None:
        return ConditionState(True, Reason.CERTIFICATE_VALID, f"{subject} is valid.")
    remaining = certificate.until - observed.now
    until = f"{certificate.until:%Y-%m-%d}"
    if remaining <= timedelta():
        return ConditionState(
            False, Reason.CERTIFICATE_EXPIRED, f"{subject} expired on {until}. Renew it."
        )
    text = f"{subject} is valid until {until} ({counted(remaining.days, 'day')} left)."
    # Still True, because clients accept the certificate; the reason carries the warning.
    if remaining < timedelta(days=EXPIRY_WARNING_DAYS):
        text = f"{text} Renew it, or check why automatic renewal fails."
        return ConditionState(True, Reason.CERTIFICATE_EXPIRING_SOON, text)
    return ConditionState(True, Reason.CERTIFICATE_VALID, text)


def _uncovered_hosts(relay: Relay, names: tuple[str, ...]) -> list[str]:
    """Return the Ingress hosts that the certificate does not name; none when names are unknown."""
    return [
        host
        for host in relay.ingress.effective_hosts
        if names and not any(_covers(name, host) for name in names)
    ]


def _covers(name: str, host: str) -> bool:
    # A wildcard covers exactly one label: *.example.com does not cover a.b.example.com (RFC 6125).
    if name.startswith("*."):
        return host.partition(".")[2].lower() == name[2:].lower()
    return name.lower() == host.lower()
