"""The DNS servers of pods, read from the operator's own resolv.conf."""

from pathlib import Path

import pytest

from tokenplace_operator.observe.nameservers import cluster_nameservers


@pytest.fixture
def in_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")


@pytest.mark.usefixtures("in_cluster")
@pytest.mark.parametrize(
    ("text", "servers"),
    [
        ("search a.svc\nnameserver 10.96.0.10\noptions ndots:5\n", ("10.96.0.10",)),
        ("nameserver fd00::a\nnameserver 169.254.20.10\n", ("169.254.20.10", "fd00::a")),
        ("nameserver 127.0.0.53\nnameserver\nnameserver x\n# nameserver 192.0.2.1\n", ()),
        ("".join(f"nameserver 192.0.2.{last}\n" for last in range(1, 9)), 3),
        ("", ()),
    ],
)
def test_servers(tmp_path: Path, text: str, servers: tuple[str, ...] | int) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text(text)
    found = cluster_nameservers(file)
    assert (len(found) if isinstance(servers, int) else found) == servers


@pytest.mark.usefixtures("in_cluster")
def test_a_missing_file_names_none(tmp_path: Path) -> None:
    assert cluster_nameservers(tmp_path / "absent") == ()


def test_outside_a_cluster_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 192.0.2.1\n")
    assert cluster_nameservers(file) == ()
