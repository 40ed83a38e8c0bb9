"""The traps of a folder named `operator`: each of these broke the standard library when tried."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_operator_folder_holds_no_python_outside_src() -> None:
    stray = [p for p in (ROOT / "operator").rglob("*.py") if "src" not in p.relative_to(ROOT).parts]
    assert stray == []


def test_no_packages_among_the_tests() -> None:
    sources = {ROOT / "tests" / name / "src" for name in ("cluster", "harness", "bench")}
    found = (ROOT / "tests").rglob("__init__.py")
    packages = [path for path in found if not sources.intersection(path.parents)]
    assert packages == []


def test_standard_operator_module_is_found_from_the_root() -> None:
    code = "import operator; print(operator.itemgetter(0)([7]), operator.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    value, file = done.stdout.split()
    assert value == "7"
    assert ROOT not in Path(file).parents


def test_every_package_is_marked_as_typed() -> None:
    packages = [p.parent for p in ROOT.glob("*/src/*/__init__.py")]
    assert {p.name for p in packages} == {"tokenplace_operator", "tokenplace_relay"}
    assert all((p / "py.typed").exists() for p in packages)


def test_no_operator_module_is_named_like_a_standard_one() -> None:
    """`kopf run path/to/file.py` puts the package's own folder first on the path."""
    names = {p.stem for p in ROOT.glob("operator/src/*/*.py")} & set(sys.stdlib_module_names)
    assert names <= {"__init__", "__main__"}
