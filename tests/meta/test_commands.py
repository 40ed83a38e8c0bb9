"""Each command of the documents is run by a test, or the one list here says why not."""

import re
from dataclasses import dataclass

import pytest

from tokenplace_cluster.documents.commands import ROOT, Block, blocks

HERE = "tests/meta/test_commands_run.py"


@dataclass(frozen=True, slots=True)
class Fate:
    """What becomes of commands that begin like this, on one page or in one language.

    test: file::function that runs them, or checks of them what can be checked here.
    reason: why they cannot be run here as they stand; empty when they are.
    """

    page: str
    begins: str
    test: str
    reason: str = ""
    language: str = ""

    def covers(self, block: Block, command: str) -> bool:
        """Whether it speaks of this command."""
        same_page = self.page in {block.page, "*"}
        return same_page and self.language == block.language and command.startswith(self.begins)


DOCUMENTS = "tests/e2e/test_documents.py::test_every_command_of_the_documents_works"
RELEASE = f"{HERE}::test_the_commands_of_a_release"
WINDOWS = "there is no Windows here, nor a PowerShell: its syntax is checked by a grammar"
CHART_PAGES = ("deploy/charts/README.head.md", "deploy/charts/tokenplace-relay/README.md")
FATES = (
    Fate("*", "", DOCUMENTS, language="sh"),
    Fate(
        "docs/upgrade.md",
        "kubectl delete",
        "tests/chart/test_releases.py::test_the_last_commands_of_the_documents_remove_everything",
        language="bash",
    ),
    Fate(
        "docs/migrate.md",
        "",
        "tests/e2e/test_adopt_pods.py::"
        "test_the_way_back_before_the_switch_refuses_no_request_either",
        "the test upgrades with the chart of upstream's shape, for upstream's is out of reach",
        language="bash",
    ),
    Fate(
        "docs/relay-deploy.md",
        "",
        f"{HERE}::test_powershell_has_the_right_syntax",
        WINDOWS,
        language="powershell",
    ),
    Fate(
        "docs/relay-deploy.md",
        "curl -sfL https://get.k3s.io",
        f"{HERE}::test_every_command_of_a_shell_has_the_right_syntax",
        "it installs k3s from the network over the machine that runs the tests",
        language="text",
    ),
    Fate(
        "docs/relay-deploy.md",
        "curl -fsSL https://raw.githubusercontent.com/helm/",
        f"{HERE}::test_every_command_of_a_shell_has_the_right_syntax",
        "it installs Helm from the network over the machine that runs the tests",
        language="text",
    ),
    Fate(
        "docs/relay-deploy.md",
        "sudo reboot",
        f"{HERE}::test_every_command_of_a_shell_has_the_right_syntax",
        "the tests would not come back",
        language="text",
    ),
    *(
        Fate(
            "docs/relay-deploy.md",
            begins,
            f"{HERE}::test_a_raspberry_pi_gets_its_memory_cgroup_and_its_user_a_kubeconfig",
            "files of the system are others here, and nobody becomes root",
            language="text",
        )
        for begins in ("sudo sed", "mkdir -p", "sudo install", "echo", ". ~/.profile")
    ),
    Fate(
        "docs/conditions.md",
        "kubectl ",
        "tests/integration/test_documents.py::test_the_commands_that_show_conditions",
        language="console",
    ),
    Fate(
        "README.md",
        "export ",
        "tests/e2e/test_demo.py::test_demo_plays_on_a_given_cluster",
        "the names stand for the reader's images; the test sets its own",
    ),
    Fate(
        "README.md",
        "make demo CONTEXT=",
        "tests/e2e/test_demo.py::test_demo_plays_on_a_given_cluster",
        "there is no kind here; the test names the context of its own cluster",
    ),
    Fate(
        "README.md",
        "make e2e CONTEXT=",
        "tests/e2e/test_demo.py::test_the_tests_run_on_a_given_cluster",
        "there is no kind here; the test names the context of its own cluster",
    ),
    Fate("docs/contributing.md", "make ", f"{HERE}::test_make_knows_what_contributors_type"),
    *(
        Fate("docs/cli.md", begins, f"{HERE}::test_the_package_brings_the_plugin")
        for begins in ("python3 -m venv", "~/.local/share/", "mkdir -p", "ln -sf")
    ),
    Fate(
        "docs/cli.md",
        "kubectl tokenplace status -A",
        "tests/integration/test_cli.py::test_status_of_a_ready_relay",
    ),
    Fate("docs/page.md", "base64 ", f"{HERE}::test_the_fingerprint_of_a_key"),
    Fate("docs/release.md", "uv run towncrier", RELEASE),
    Fate("docs/release.md", "git ", RELEASE),
    Fate(
        "SECURITY.md",
        "cosign verify",
        f"{HERE}::test_cosign_knows_the_flags_that_we_name",
        "no registry and no transparency log can be reached: its flags are looked up in its source",
    ),
    Fate(
        "SECURITY.md",
        "docker buildx imagetools inspect",
        f"{HERE}::test_every_command_of_a_shell_has_the_right_syntax",
        "what it reads is made by Buildx in CI, and kept in a registry that cannot be reached",
    ),
    *(
        Fate(page, begins, test)
        for page in CHART_PAGES
        for begins, test in (
            (
                "helm install",
                "tests/chart/test_releases.py::test_the_command_of_the_readme_installs",
            ),
            ("helm test", DOCUMENTS),
        )
    ),
)
COMMANDS = [(block, command) for block in blocks() for command in block.commands]


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 40
    assert {block.page for block, _ in COMMANDS} >= {"README.md", "SECURITY.md", "docs/release.md"}


@pytest.mark.parametrize(
    ("block", "command"), COMMANDS, ids=[f"{block.page}: {text[:50]}" for block, text in COMMANDS]
)
def test_each_command_has_one_fate(block: Block, command: str) -> None:
    found = [fate for fate in FATES if fate.covers(block, command)]
    assert len(found) == 1, "run it by a test, and name the test in FATES"


@pytest.mark.parametrize("fate", FATES, ids=[f"{one.page}: {one.begins}" for one in FATES])
def test_each_fate_names_a_test_that_exists_and_a_command_that_is_there(fate: Fate) -> None:
    path, _, function = fate.test.partition("::")
    assert re.search(rf"^(async )?def {function}\(", (ROOT / path).read_text(), re.MULTILINE)
    assert any(fate.covers(block, command) for block, command in COMMANDS)


NAMESPACED = re.compile(
    r"kubectl (get|describe|logs|rollout restart|delete|tokenplace (explain|report)) "
    r"(?!node|--raw)\S"
)


def test_a_command_within_a_text_names_its_namespace() -> None:
    """Whoever looks for a fault stands in any other, and would be told that there is nothing."""
    pages = [ROOT / "docs" / f"{name}.md" for name in ("migrate", "troubleshooting", "upgrade")]
    spans = [
        " ".join(span.split())
        for page in [*pages, *(ROOT / "docs" / "runbooks").glob("*.md")]
        for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", page.read_text())
    ]
    found = [one for one in spans if NAMESPACED.match(one)]
    assert len(found) > 30
    assert [one for one in found if not re.search(r"--(all-)?namespaces?\b|-A\b", one)] == []


def test_the_blocks_that_are_run_in_the_order_of_reading_are_on_pages_that_are_read() -> None:
    """What is marked `sh` is run as a whole, by a test which names its pages."""
    text = (ROOT / DOCUMENTS.partition("::")[0]).read_text()
    (names,) = re.findall(r"^PAGES = \((.*?)\)$", text, re.MULTILINE | re.DOTALL)
    marked = {block.page for block in blocks() if block.language == "sh"}
    read = {f"docs/{name}" for name in re.findall(r'"([\w-]+\.md)"', names)}
    assert marked == read
