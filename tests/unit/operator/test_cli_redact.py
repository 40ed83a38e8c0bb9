"""Redaction of `kubectl tokenplace report`: secrets are planted everywhere, none may remain."""

import json
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tokenplace_operator.cli.commands.report import Log, redacted, write
from tokenplace_operator.cli.redact import Redactor
from tokenplace_operator.cli.snapshot import Snapshot

DIGEST = f"sha256:{'0123456789abcdef' * 4}"
JWT = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJlLXBhcnQ"
PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvSecretKeyMaterial\n-----END PRIVATE KEY-----"
PLANTED = {
    "env-of-spec": "swordfish-in-the-spec",
    "env-of-pod": "hunter2-in-the-pod",
    "annotation": "annotated-credential-9",
    "bearer": "bearerword99",
    "field": "field-named-password",
    "url": "urlpassw0rd",
    "assignment": "assigned5ecret",
    "json": "jsonsecret77",
    "long": "AKIA0123456789abcdefghijklmnopqrstuvwxyz0123",
    "query": "querytoken31",
}

Object = dict[str, Any]


def relay() -> Object:
    template = {
        "annotations": {"vault": PLANTED["annotation"]},
        "env": [
            {"name": "API", "value": PLANTED["env-of-spec"]},
            {"name": "REF", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "k"}}},
        ],
        "volumes": [
            {"name": "v", "csi": {"volumeAttributes": {"share": PLANTED["annotation"] + "-2"}}}
        ],
    }
    return {
        "apiVersion": "token.place/v1alpha1",
        "kind": "TokenplaceRelay",
        "metadata": {
            "name": "relay",
            "namespace": "shop",
            "uid": "0b0e1a3c-5a1c-4f0e-9a2f-1234567890ab",
            "generation": 1,
            "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": PLANTED["env-of-spec"]
            },
            "managedFields": [{"manager": "kubectl"}],
        },
        "spec": {
            "image": {"digest": DIGEST},
            "gpu": {"mode": "ExternalName", "host": "gpu-box.example.test"},
            "podTemplate": template,
        },
        "status": {
            "conditions": [{"type": "Ready", "message": f"refused: password={PLANTED['field']}"}]
        },
    }


def pod() -> Object:
    env = [
        {"name": "TOKEN", "value": PLANTED["env-of-pod"]},
        {"name": "TOKENPLACE_GPU_HOST", "value": "gpu-box.example.test"},
    ]
    container = {"name": "relay", "env": env, "args": [f"--x={PLANTED['env-of-pod']}"]}
    return {
        "kind": "Pod",
        "metadata": {"name": "relay-6d4cf56db6-x8v2z", "namespace": "shop", "uid": "2"},
        "spec": {"containers": [container], "hostToken": PLANTED["field"]},
    }


LOG = f"""
{{"event": "started", "port": 5010, "host": "gpu-box.example.test"}}
{{"event": "leak", "api": "{PLANTED["env-of-spec"]}", "again": "{PLANTED["env-of-pod"]}"}}
Authorization: Bearer {PLANTED["bearer"]}
connecting to https://user:{PLANTED["url"]}@db.example/x
SERVICE_PASSWORD={PLANTED["assignment"]} next=word
{{"client_secret": "{PLANTED["json"]}"}}
GET /x?access_token={PLANTED["query"]}&page=2
key {PLANTED["long"]}
jwt {JWT}
image ghcr.io/x/y@{DIGEST}
{PEM}
"""


def event() -> Object:
    return {
        "metadata": {"name": "e"},
        "message": f"pod says {PLANTED['env-of-pod']} and Bearer {PLANTED['bearer']}",
    }


def bundle() -> dict[str, str]:
    snapshot = Snapshot(relay(), (), (pod(),), (event(),))
    return redacted(snapshot, [], [Log("relay-x", LOG)])


def test_no_planted_secret_remains() -> None:
    everything = json.dumps(bundle())
    remaining = {where for where, secret in PLANTED.items() if secret in everything}
    assert remaining == set()
    assert JWT not in everything
    assert "MIIEvSecretKeyMaterial" not in everything


def test_values_that_are_not_secret_stay_readable() -> None:
    files = bundle()
    log = files["logs/relay-x.log"]
    assert '"event": "started", "port": 5010, "host": "gpu-box.example.test"' in log
    assert f"image ghcr.io/x/y@{DIGEST}" in log
    assert "next=word" in log
    assert "https://<redacted>@db.example/x" in log
    assert "&page=2" in log
    assert "name: REF" in files["relay.yaml"]
    assert "key: k" in files["relay.yaml"]
    assert DIGEST in files["relay.yaml"]
    assert "host: gpu-box.example.test" in files["relay.yaml"]
    assert "uid: 0b0e1a3c-5a1c-4f0e-9a2f-1234567890ab" in files["relay.yaml"]
    assert "relay-6d4cf56db6-x8v2z" in files["pods/pod-relay-6d4cf56db6-x8v2z.yaml"]
    assert "managedFields" not in files["relay.yaml"]


@pytest.mark.parametrize(
    "text",
    [
        "GET /apis/token.place/v1alpha1/namespaces/default/tokenplacerelays 200",
        "reconciled relay=default/relay reconcile=1a2b3c4d",
        "token: null",
        "automountServiceAccountToken: false",
        f"repo@{DIGEST}",
        "Pod relay-6d4cf56db6-x8v2z of shop is not ready",
    ],
)
def test_ordinary_text_is_not_changed(text: str) -> None:
    assert Redactor().redact_text(text) == text


def test_the_archive_has_one_folder_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path = tmp_path / "report.tar.gz"
    write(path, {"relay.yaml": "a: 1\n", "logs/x.log": ""}, datetime(2026, 1, 1, tzinfo=UTC))
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["report/relay.yaml", "report/logs/x.log"]
        member = archive.extractfile("report/relay.yaml")
        assert member is not None
        assert member.read() == b"a: 1\n"
