"""A test runs each command of the pages, or the list here gives the reason why none does."""

import re
from dataclasses import dataclass

import pytest

from tokenplace_cluster.documents.commands import ROOT, Block, blocks

HERE = "tests/meta/test_commands_run.py"


@dataclass(frozen=True, slots=True)
class Coverage:
    """The test that covers commands with this beginning, on one page or in one language.

    test: file::function that runs them, or checks as much of them as it can.
    reason: why no test can run them unchanged; empty when one does.
    """

    page: str
    begins: str
    test: str
    reason: str = ""
    language: str = ""

    def covers(self, block: Block, command: str) -> bool:
        """Whether it applies to this command."""
        same_page = self.page in {block.page, "*"}
        return same_page and self.language == block.language and command.startswith(self.begins)


DOCUMENTS = "tests/e2e/test_documents.py::test_every_command_of_the_documents_works"
RELEASE = f"{HERE}::test_the_commands_of_a_release"
WINDOWS = "there is no Windows here, nor a PowerShell: its syntax is checked by a grammar"
CHART_PAGES = ("deploy/charts/README.head.md", "deploy/charts/tokenplace-relay/README.md")
COVERAGES = (
    Coverage("*", "", DOCUMENTS, language="sh"),
    Coverage(
        "docs/upgrade.md",
        "kubectl delete",
        "tests/chart/test_releases.py::test_the_last_commands_of_the_documents_remove_everything",
        language="bash",
    ),
    Coverage(
        "docs/migrate.md",
        "",
        "tests/e2e/test_adopt_pods.py::test_a_rollback_before_the_switch_fails_no_request",
        "the test upgrades with a chart of upstream's shape, because upstream's cannot be fetched",
        language="bash",
    ),
    Coverage(
        "docs/relay-deploy.md",
        "",
        f"{HERE}::test_powershell_has_the_right_syntax",
        WINDOWS,
        language="powershell",
    ),
    Coverage(
        "docs/relay-deploy.md",
        "curl -sfL https://get.k3s.io",
        f"{HERE}::test_every_command_of_a_shell_has_the_right_syntax",
        "it would install k3s from the network on the machine that runs the tests",
        language="text",
    ),
    Coverage(
        "docs/relay-deploy.md",
        "curl -fsSL https://raw.githubusercontent.com/helm/",
        f"{HERE}::test_every_command_of_a_shell_has_the_right_syntax",
        "it would install Helm from the network on the machine that runs the tests",
        language="text",
    ),
    Coverage(
        "docs/relay-deploy.md",
        "sudo reboot",
        f"{HERE}::test_every_command_of_a_shell_has_the_right_syntax",
        "the tests would not come back",
        language="text",
    ),
    *(
        Coverage(
            "docs/relay-deploy.md",
            begins,
            f"{HERE}::test_a_raspberry_pi_gets_its_memory_cgroup_and_its_user_a_kubeconfig",
            "system files differ here, and the tests do not become root",
            language="text",
        )
        for begins in ("sudo sed", "mkdir -p", "sudo install", "echo", ". ~/.profile")
    ),
    Coverage(
        "docs/conditions.md",
        "kubectl ",
        "tests/integration/test_documents.py::test_the_commands_that_show_conditions",
        language="console",
    ),
    Coverage(
        "README.md",
        "export ",
        "tests/e2e/test_demo.py::test_demo_runs_on_an_existing_cluster",
        "the names are placeholders for the reader's images; the test sets its own",
    ),
    Coverage(
        "README.md",
        "make demo CONTEXT=",
        "tests/e2e/test_demo.py::test_demo_runs_on_an_existing_cluster",
        "there is no kind here; the test names the context of its own cluster",
    ),
    Coverage(
        "README.md",
        "make e2e CONTEXT=",
        "tests/e2e/test_demo.py::test_the_tests_run_on_an_existing_cluster",
        "there is no kind here; the test names the context of its own cluster",
    ),
    Coverage("docs/contributing.md", "make ", f"{HERE}::test_make_knows_what_contributors_type"),
    *(
        Coverage("docs/cli.md", begins, f"{HERE}::test_the_package_brings_the_plugin")
        for begins in ("python3 -m venv", "~/.local/share/", "mkdir -p", "ln -sf")
    ),
    Coverage(
        "docs/cli.md",
        "kubectl tokenplace status -A",
        "tests/integration/test_cli.py::test_status_of_a_ready_relay",
    ),
    Coverage("docs/page.md", "base64 ", f"{HERE}::test_the_fingerprint_of_a_key"),
    Coverage("docs/release.md", "uv run towncrier", RELEASE),
    Coverage("docs/release.md", "git ", RELEASE),
    Coverage(
        "SECURITY.md",
        "cosign verify",
        f"{HERE}::test_cosign_knows_the_flags_that_we_name",
        "no registry and no transparency log can be reached: its flags are looked up in its source",
    ),
    Coverage(
        "SECURITY.md",
        "docker buildx imagetools inspect",
        f"{HERE}::test_every_command_of_a_shell_has_the_right_syntax",
        "what it reads is made by Buildx in CI, and kept in a registry that cannot be reached",
    ),
    *(
        Coverage(page, begins, test)
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
def test_each_command_is_covered_once(block: Block, command: str) -> None:
    found = [coverage for coverage in COVERAGES if coverage.covers(block, command)]
    assert len(found) == 1, "run it by a test, and name the test in COVERAGES"


@pytest.mark.parametrize(
    "coverage", COVERAGES, ids=[f"{one.page}: {one.begins}" for one in COVERAGES]
)
def test_each_coverage_names_a_test_that_exists_and_a_command_that_is_there(
    coverage: Coverage,
) -> None:
    path, _, function = coverage.test.partition("::")
    assert re.search(rf"^(async )?def {function}\(", (ROOT / path).read_text(), re.MULTILINE)
    assert any(coverage.covers(block, command) for block, command in COMMANDS)


NAMESPACED = re.compile(
    r"kubectl (get|describe|logs|rollout restart|delete|tokenplace (explain|report)) "
    r"(?!node|--raw)\S"
)


def test_a_command_within_a_text_names_its_namespace() -> None:
    """The reader may be in any namespace, where the command would find nothing."""
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
