"""How long a certificate lasts, from cert-manager's word or from the Secret itself."""

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtensionOID, NameOID

from tokenplace_operator.api.kinds import Kind, Object
from tokenplace_operator.api.spec.relay import Relay, parse
from tokenplace_operator.kube.errors import Forbidden, NotFound, Unavailable
from tokenplace_operator.observe.certificates import Certificates
from tokenplace_operator.observe.facts import SETTLED_SECONDS, CertificateInfo, CertificateState

UNTIL = datetime(2027, 2, 1, tzinfo=UTC)
SINCE = UNTIL - timedelta(days=90)
NAMES = ExtensionOID.SUBJECT_ALTERNATIVE_NAME
OWN = {"domain": "example.com", "tls": {"secretName": "mine"}}


def relay(**ingress: object) -> Relay:
    metadata = {"name": "relay", "namespace": "default", "uid": "u", "generation": 1}
    spec = {"image": {"tag": "v1"}, "gpu": {"mode": "None"}, "ingress": ingress}
    return parse({"metadata": metadata, "spec": spec})


class Answers:
    """Answers each question in turn, and notes it."""

    def __init__(self, *answers: Object | Exception) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[str, str, str]] = []

    async def get(self, kind: Kind, namespace: str, name: str) -> Object:
        self.asked.append((kind.kind, namespace, name))
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def secret(*names: str) -> Object:
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    return {"data": {"tls.crt": pem(alternatives if names else None), "tls.key": "c2VjcmV0"}}


def with_names(value: bytes) -> Object:
    """A Secret whose certificate has these bytes for its alternative names."""
    return {"data": {"tls.crt": pem(x509.UnrecognizedExtension(NAMES, value))}}


def pem(extension: x509.ExtensionType | None) -> str:
    """Signed by itself, with at most one extension, as a Secret holds it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "relay")])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(SINCE)
        .not_valid_after(UNTIL)
    )
    if extension is not None:
        made = made.add_extension(extension, critical=False)
    text = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    return base64.b64encode(text).decode()


def certificate(ready: str, **status: object) -> Object:
    conditions = [{"type": "Ready", "status": ready, "message": "order is pending"}]
    names = ["relay.example.com"]
    return {"spec": {"dnsNames": names}, "status": {"conditions": conditions, **status}}


async def look(answers: Answers, **ingress: object) -> CertificateInfo | None:
    return await Certificates(answers, lambda: 0.0).read(relay(**ingress))


@pytest.mark.parametrize(
    "ingress", [{}, {"domain": "example.com", "tls": {"enabled": False, "secretName": "x"}}]
)
async def test_without_tls_nothing_is_read(ingress: dict[str, object]) -> None:
    answers = Answers()
    assert await look(answers, **ingress) is None
    assert answers.asked == []


async def test_with_an_issuer_only_the_certificate_is_read() -> None:
    validity = {"notBefore": "2026-11-03T00:00:00Z", "notAfter": "2027-02-01T00:00:00Z"}
    answers = Answers(certificate("True", **validity))
    found = await look(answers, domain="example.com")
    names = ("relay.example.com",)
    assert found == CertificateInfo(CertificateState.VALID, since=SINCE, until=UNTIL, names=names)
    assert answers.asked == [("Certificate", "default", "relay-tls")]


@pytest.mark.parametrize(
    ("answer", "state", "text"),
    [
        (certificate("False"), CertificateState.NOT_READY, "order is pending"),
        ({"spec": {}}, CertificateState.NOT_READY, "it has not been issued yet"),
        (NotFound(404, "NotFound", ""), CertificateState.MISSING, ""),
        (
            Unavailable(503, "ServiceUnavailable", ""),
            CertificateState.UNREADABLE,
            "ServiceUnavailable",
        ),
    ],
)
async def test_states_of_cert_manager(
    answer: Object | Exception, state: CertificateState, text: str
) -> None:
    found = await look(Answers(answer), domain="example.com")
    assert found is not None
    assert (found.state, found.text) == (state, text)


async def test_only_the_named_secret_is_read() -> None:
    answers = Answers(secret("relay.example.com", "*.example.org"))
    found = await look(answers, **OWN)
    names = ("relay.example.com", "*.example.org")
    assert found == CertificateInfo(CertificateState.VALID, since=SINCE, until=UNTIL, names=names)
    assert answers.asked == [("Secret", "default", "mine")]
    assert "c2VjcmV0" not in repr(found)


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (NotFound(404, "NotFound", ""), CertificateState.MISSING),
        (Forbidden(403, "Forbidden", ""), CertificateState.UNREADABLE),
        (Unavailable(503, "ServiceUnavailable", ""), CertificateState.UNREADABLE),
        ({"data": {}}, CertificateState.BROKEN),
        ({"data": {"tls.crt": "!"}}, CertificateState.BROKEN),
        ({"data": {"tls.crt": base64.b64encode(b"no PEM").decode()}}, CertificateState.BROKEN),
        ({}, CertificateState.BROKEN),
        (secret(), CertificateState.VALID),
        (with_names(b"\xff\xff"), CertificateState.BROKEN),
        (with_names(b"\x30\x05\x82\x03\xff\xff\xff"), CertificateState.BROKEN),
        (with_names(b"\x30\x04\xa3\x02\x30\x00"), CertificateState.BROKEN),
    ],
)
async def test_what_the_users_secret_holds(
    answer: Object | Exception, state: CertificateState
) -> None:
    found = await look(Answers(answer), **OWN)
    assert found is not None
    assert found.state is state


async def test_a_certificate_that_is_ready_is_read_less_often() -> None:
    times = [0.0]
    good = certificate("True", notAfter="2027-02-01T00:00:00Z")
    answers = Answers(certificate("False"), good, good)
    certificates = Certificates(answers, lambda: times[-1])
    seen = []
    for time in (0.0, 59.0, 60.0, 600.0, 660.0):
        times.append(time)
        await certificates.read(relay(domain="example.com"))
        seen.append(len(answers.asked))
    assert seen == [1, 1, 2, 2, 3]


async def test_without_cert_manager_nothing_is_read() -> None:
    answers = Answers()
    certificates = Certificates(answers, lambda: 0.0)
    found = await certificates.read(relay(domain="example.com"), served=False)
    assert found == CertificateInfo(CertificateState.NOT_SERVED)
    assert found.seconds == SETTLED_SECONDS
    assert answers.asked == []
