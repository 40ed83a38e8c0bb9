"""Which Debian packages are missing on a machine."""

from pathlib import Path

from tokenplace_cluster.programs.debian import missing_packages


def test_what_is_missing_is_named_once_by_its_package(tmp_path: Path) -> None:
    keyring = tmp_path / "keyring.gpg"
    keyring.touch(mode=0o644)
    programs = {
        "sh": "dash",
        str(keyring): "keyring",
        "no-such-program": "gone",
        "nor-this-one": "gone",
        str(tmp_path / "no-such-file"): "absent",
    }
    assert missing_packages(programs) == ["absent", "gone"]
