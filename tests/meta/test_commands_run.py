"""Commands of the documents that need no cluster: run, or checked as far as this machine allows."""

import base64
import getpass
import hashlib
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Parser

from tokenplace_cluster.documents.commands import ROOT, blocks, of
from tokenplace_cluster.programs.build import module_folder

SHELLS = {"", "sh", "bash", "console", "text"}
POWERSHELL = Parser(Language(tree_sitter_powershell.language()))


def run(command: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=folder,
        env={**os.environ, "HOME": str(folder), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_of_a_shell_has_the_right_syntax(tmp_path: Path) -> None:
    texts = [block.text for block in blocks() if block.language in SHELLS]
    assert len(texts) > 20
    for text in texts:
        script = tmp_path / "script"
        script.write_text(re.sub(r"^\$ ", "", text, flags=re.MULTILINE))
        run(f"bash -n {script}", tmp_path)


def test_powershell_has_the_right_syntax() -> None:
    """By the grammar of tree-sitter, which is not PowerShell's own."""
    assert POWERSHELL.parse(b"if (").root_node.has_error
    found = of("docs/relay-deploy.md", "powershell")
    assert len(found) == 5
    for block in found:
        assert not POWERSHELL.parse(block.text.encode()).root_node.has_error, block.text


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone of a repository with our changelog, whose user signs tags."""
    origin, folder = tmp_path / "origin", tmp_path / "clone"
    run(f"git init --quiet --bare {origin}", tmp_path)
    run(f"git clone --quiet {origin} {folder}", tmp_path)
    key = tmp_path / "key"
    run(f"ssh-keygen -q -t ed25519 -N '' -f {key}", tmp_path)
    shutil.copytree(ROOT / "changelog.d", folder / "changelog.d")
    for name in ("pyproject.toml", "CHANGELOG.md"):
        shutil.copy(ROOT / name, folder)
    settings = {
        "user.name": "Maintainer",
        "user.email": "maintainer@example.com",
        "gpg.format": "ssh",
        "user.signingkey": str(key),
    }
    for name, value in settings.items():
        run(f"git config {name} '{value}'", folder)
    run("git add --all && git commit --quiet --message 'Begin'", folder)
    return folder


def test_the_commands_of_a_release(clone: Path) -> None:
    changelog, tag, push = (
        command for block in of("docs/release.md") for command in block.commands
    )
    # Uses the tools of this environment; `--yes` skips the question about the fragments.
    environment = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    run(changelog.removeprefix("uv run ") + " --yes", clone, **environment)
    assert "## 0.2.0 (" in (clone / "CHANGELOG.md").read_text()
    assert list((clone / "changelog.d").glob("*.md")) == []
    run("git commit --quiet --all --message 'Release'", clone)
    run(tag, clone)
    assert "BEGIN SSH SIGNATURE" in run("git cat-file tag v0.2.0", clone)
    run(push, clone)
    assert run("git ls-remote --tags origin", clone).rstrip().endswith("refs/tags/v0.2.0^{}")


def test_make_knows_what_contributors_type(tmp_path: Path) -> None:
    """Each of them is what CI runs; here only make is asked what it would do."""
    wanted = {
        "make unit": "pytest tests/unit",
        "make check": "ruff check",
        "make dev": "tokenplace-cluster dev",
        "make lint": "ruff check",
        "make test": "tests/integration",
        "make test-all": "TOKENPLACE_REQUIRE_ALL=1",
    }
    commands = [command for block in of("docs/contributing.md") for command in block.commands]
    assert set(commands) == set(wanted)
    for command in commands:
        shown = run(f"{command} --dry-run --directory={ROOT}", tmp_path)
        assert wanted[command] in shown
    assert (ROOT / ".ci/run").read_text().rstrip().endswith("make lint test test-all")


def test_the_package_brings_the_plugin(tmp_path: Path) -> None:
    """As written, except that its build and run dependencies are installed already."""
    *commands, last = [one for block in of("docs/cli.md") for one in block.commands]
    assert last.startswith("kubectl tokenplace")
    (tmp_path / "operator").symlink_to(ROOT / "operator")
    # pip sees the packages of this environment, whose Python the new one has, and asks no network.
    search = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    here = {"PATH": search, "PYTHONPATH": sysconfig.get_path("purelib"), "PIP_NO_INDEX": "1"}
    for command in commands:
        run(command.replace("install ./", "install --no-build-isolation ./"), tmp_path, **here)
    plugin = tmp_path / ".local" / "bin" / "kubectl-tokenplace"
    assert "status" in run(f"{plugin} --help", tmp_path, **here)


def test_a_raspberry_pi_gets_its_memory_cgroup_and_its_user_a_kubeconfig(tmp_path: Path) -> None:
    here = {
        "sudo ": "",
        "/boot/firmware/cmdline.txt": str(tmp_path / "cmdline.txt"),
        "/etc/rancher/k3s/k3s.yaml": str(tmp_path / "k3s.yaml"),
    }
    (tmp_path / "cmdline.txt").write_text("console=tty1 rootwait\n")
    (tmp_path / "k3s.yaml").write_text("apiVersion: v1\n")
    commands = [one for block in of("docs/relay-deploy.md", "text") for one in block.commands]
    mine = [one for one in commands if not one.startswith(("curl ", "sudo reboot"))]
    script = "\n".join([*mine, 'cat "$KUBECONFIG"'])
    for there, path in here.items():
        script = script.replace(there, path)
    assert run(script, tmp_path, USER=getpass.getuser()) == "apiVersion: v1\n"
    line = "console=tty1 rootwait cgroup_memory=1 cgroup_enable=memory\n"
    assert (tmp_path / "cmdline.txt").read_text() == line
    assert (tmp_path / ".kube" / "config").stat().st_mode & 0o777 == 0o600


def test_the_fingerprint_of_a_key(tmp_path: Path) -> None:
    pem = b"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n"
    (tmp_path / "public_key.pem").write_bytes(pem)
    ((command,),) = (block.commands for block in of("docs/page.md"))
    shown = run(command, tmp_path)
    assert shown.split()[0] == hashlib.sha256(base64.b64encode(pem)).hexdigest()


def test_cosign_knows_the_flags_that_we_name() -> None:
    """In its own source: what it checks, it gets from a registry, which is not here."""
    options = module_folder("github.com/sigstore/cosign/v3") / "cmd" / "cosign" / "cli" / "options"
    known = "".join(path.read_text() for path in sorted(options.glob("*.go")))
    signing = re.findall(r"run: cosign (.*)", (ROOT / ".github/workflows/build.yml").read_text())
    checking = cosign_commands()
    flags = re.findall(r" --([a-z-]+)", " ".join([*checking, *signing]))
    assert {"certificate-oidc-issuer", "certificate-identity", "yes"} <= set(flags)
    for flag in flags:
        assert f'"{flag}"' in known, flag


def cosign_commands() -> list[str]:
    every = [one for block in of("SECURITY.md") for one in block.commands]
    return [one for one in every if one.startswith("cosign ")]


def test_what_is_not_released_passes_for_no_release() -> None:
    """Main signs what it builds as well, by the same workflow: only the ref tells them apart."""
    image, chart = cosign_commands()
    for command in (image, chart):
        assert "regexp" not in command
        (identity,) = re.findall(r"--certificate-identity '(\S+)'", command)
        file, _, ref = identity.removeprefix("https://github.com/").partition("@")
        assert (ROOT / file.removeprefix("futuroptimist/token.place/")).exists()
        assert re.fullmatch(r"refs/tags/v\d+\.\d+\.\d+", ref)
    assert "/charts/" in chart
