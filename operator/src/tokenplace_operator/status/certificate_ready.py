"""Whether the Ingress has a certificate, and for how many days."""

from datetime import timedelta

from tokenplace_operator.api import Relay
from tokenplace_operator.api.conditions import Reason, counted, text_time
from tokenplace_operator.observe.certificates import CertificateInfo, CertificateState
from tokenplace_operator.status.observed import Observed, Verdict

SOON_DAYS = 14
"""cert-manager renews long before; with so few days left, something is wrong."""


def certificate_ready(relay: Relay, seen: Observed) -> Verdict | None:
    """CertificateReady; None without an Ingress or without TLS."""
    found = seen.certificate
    if found is None:
        return None
    tls = relay.ingress.tls
    managed = bool(tls.cluster_issuer or tls.issuer)
    name = tls.secret_name or f"{relay.name}-tls"
    what = f"Certificate {name}" if managed else f"Secret {name}"
    if found.state is CertificateState.VALID:
        return _valid(relay, seen, found, what)
    if found.state is CertificateState.NOT_READY:
        text = f"{what}: {found.text}. See kubectl describe certificate {name}."
        return Verdict(False, Reason.CERTIFICATE_PENDING, text)
    if found.state is CertificateState.BROKEN:
        text = f"{what} holds no readable PEM certificate under tls.crt"
        text = f"{text}; create it with kubectl create secret tls {name}."
        return Verdict(False, Reason.TLS_SECRET_INVALID, text)
    if found.state in {CertificateState.MISSING, CertificateState.NOT_SERVED}:
        return _missing(what, name, managed=managed)
    text = (
        f"{what} cannot be read: {found.text}. How long it is valid is not known here; "
        "see to it yourself, or give the operator the right to read it."
    )
    return Verdict(None, Reason.CERTIFICATE_UNREADABLE, text)


def _missing(what: str, name: str, *, managed: bool) -> Verdict:
    """A Certificate is missing at every start; a Secret that the user named is a mistake."""
    if managed:
        text = f"There is no {what}; check that cert-manager is installed and its issuer exists."
        return Verdict(False, Reason.CERTIFICATE_NOT_FOUND, text)
    text = f"There is no {what}; create it with kubectl create secret tls {name}."
    return Verdict(False, Reason.TLS_SECRET_NOT_FOUND, text)


def _valid(relay: Relay, seen: Observed, found: CertificateInfo, what: str) -> Verdict:
    strangers = [
        host
        for host in relay.ingress.effective_hosts
        if found.names and not any(_covers(name, host) for name in found.names)
    ]
    if strangers:
        text = f"{what} is not for {', '.join(strangers)}; issue one that names every host."
        return Verdict(False, Reason.CERTIFICATE_HOST_MISMATCH, text)
    if found.since is not None and seen.now < found.since:
        text = (
            f"{what} is valid from {text_time(found.since)} on only; check the clocks, or renew it."
        )
        return Verdict(False, Reason.CERTIFICATE_NOT_YET_VALID, text)
    if found.until is None:
        return Verdict(True, Reason.CERTIFICATE_VALID, f"{what} is valid.")
    left = found.until - seen.now
    days = f"until {found.until:%Y-%m-%d}, {counted(max(left.days, 0), 'day')} left"
    if left <= timedelta():
        text = f"{what} was valid {days}; renew it."
        return Verdict(False, Reason.CERTIFICATE_EXPIRED, text)
    if left < timedelta(days=SOON_DAYS):
        text = f"{what} is valid {days}; renew it, or see why that does not happen by itself."
        return Verdict(True, Reason.CERTIFICATE_EXPIRING_SOON, text)
    return Verdict(True, Reason.CERTIFICATE_VALID, f"{what} is valid {days}.")


def _covers(name: str, host: str) -> bool:
    if name.startswith("*."):
        return host.partition(".")[2].lower() == name[2:].lower()
    return name.lower() == host.lower()
