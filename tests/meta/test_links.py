"""Every link from one page to a file of this repository, and every file named, leads somewhere."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = subprocess.run(
    ["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True
).stdout.split()
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text()
PROGRAMS = ("relay/src/tokenplace_relay", "operator/src/tokenplace_operator")
LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")


def targets(page: str) -> list[str]:
    found = [match[1] for match in LINK.finditer((ROOT / page).read_text())]
    return [one for one in found if "://" not in one and not one.startswith("mailto:")]


def test_there_are_links() -> None:
    assert len(targets("README.md")) > 20


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page: str) -> None:
    # This one becomes deploy/charts/tokenplace-relay/README.md.
    folder = (ROOT / page.replace("charts/README.head", "charts/tokenplace-relay/README")).parent
    assert [one for one in targets(page) if not (folder / one).exists()] == []


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", one.lower()).replace(" ", "-") for one in found}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_into_a_page_leads_to_a_heading(page: str) -> None:
    here = ROOT / page
    found = re.findall(r"\]\(([\w./-]*\.md)?#([^)\s]+)\)", here.read_text())
    lost = [
        (path, anchor)
        for path, anchor in found
        if anchor not in headings((here.parent / path) if path else here)
    ]
    assert lost == []


def test_the_readme_leads_to_every_page() -> None:
    """To those of docs/ itself; folders below have a page that leads to them."""
    text = (ROOT / "README.md").read_text()
    pages = [one for one in PAGES if re.fullmatch(r"docs/[^/]+\.md", one)]
    assert len(pages) > 15
    assert [one for one in pages if f"({one})" not in text] == []


@pytest.mark.parametrize(("page", "least"), [("architecture", 40), ("contributing", 15)])
def test_every_file_that_a_page_names_exists(page: str, least: int) -> None:
    text = (ROOT / "docs" / f"{page}.md").read_text()
    paths = re.findall(
        r"[`(](?:\.\./)?((?:operator|relay|tests|deploy|docs|crds|\.ci|\.github)/[\w./-]+)[`):]",
        text,
    )
    assert len(paths) >= least
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_every_file_in_a_diagram_exists() -> None:
    diagrams = re.findall(r"^```mermaid$(.*?)^```$", ARCHITECTURE, re.DOTALL | re.MULTILINE)
    names = set(re.findall(r"\w+\.py", "".join(diagrams)))
    sources = {path.name for name in PROGRAMS for path in (ROOT / name).rglob("*.py")}
    assert len(names) > 15
    assert names - sources == set()


def test_every_file_in_the_glossary_exists() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    sections = re.split(r"^Paths start at `([^`]+)`\.$", text, flags=re.MULTILINE)[1:]
    rows = [
        (folder, row)
        for folder, section in zip(sections[::2], sections[1::2], strict=True)
        for row in re.findall(r"^\| .+ \|$", section, re.MULTILINE)[1:]
    ]
    lost = [
        f"{folder}{path}"
        for folder, row in rows
        for path in re.findall(r"`([^`]+)`", row.split(" | ")[-1])
        if not (ROOT / folder / path).exists()
    ]
    assert {folder for folder, _ in rows} == {f"{name}/" for name in PROGRAMS}
    assert len(rows) > 60
    assert lost == []
