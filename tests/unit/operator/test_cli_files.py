"""Files of users: each error is one line that names the field and the rule."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tokenplace_operator.cli.exit_codes import CliError, Exit
from tokenplace_operator.cli.main import main
from tokenplace_operator.cli.relay_files import parse_file, read_relays
from tokenplace_operator.cli.yaml_io import MAX_DEPTH, load_documents

ROOT = Path(__file__).parents[3]
HEAD = "apiVersion: token.place/v1alpha1\nkind: TokenplaceRelay\nmetadata: {name: r}\n"


def spec(text: str) -> str:
    image = "" if "image:" in text else "  image: {tag: v1}\n"
    gpu = "" if "gpu:" in text else '  gpu: {mode: "None"}\n'
    return f"{HEAD}spec:\n{image}{gpu}  {text}\n"


def rendered(text: str, path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    file = path / "relay.yaml"
    file.write_text(text)
    code = main(["render", "-f", str(file)])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kind: List\nitems:\n", "contains no TokenplaceRelay"),
        ("kind: List\nitems: [a]\n", "items of a List: must be a list of objects"),
        ("kind: List\nitems: {a: b}\n", "items of a List: must be a list of objects"),
        ("a: &a [*a]\n", f"is not valid YAML: more than {MAX_DEPTH} levels"),
        ("[" * 5000, f"is not valid YAML: more than {MAX_DEPTH} levels"),
        ("a: 1\na: 2\n", "is not valid YAML: duplicate key a in line 2"),
        ("? [a]\n: b\n", "is not valid YAML: a key is not a string in line 1"),
        ("a: !!binary aGk=\n", "is not valid YAML: could not determine a constructor"),
        (f"a: {'9' * 5000}\n", "is not valid YAML: a number cannot be parsed"),
        (spec("podTemplate: {annotations: {a: 1}}"), "annotations[a]: must be a string, in quotes"),
        (
            spec("podTemplate: {volumes: [{name: a, emptyDir: x}]}"),
            "r: spec.podTemplate.volumes[0].emptyDir: must be an object",
        ),
        (
            spec("podTemplate: {volumes: [{name: a, emptyDir: {sizeLimit: lots}}]}"),
            "r: spec.podTemplate.volumes[0].emptyDir.sizeLimit: must match ^([0-9]+",
        ),
        (
            spec("networkPolicy: {dns: {podSelector: {matchLabels: x}}}"),
            "r: spec.networkPolicy.dns.podSelector.matchLabels: must be an object",
        ),
        (
            spec('resources: {limits: {cpu: "1e9999999999"}}'),
            "r: spec.resources.limits.cpu: must match",
        ),
        (
            spec("image: {tag: v1, pullSecrets: [{}]}"),
            "r: spec.image.pullSecrets[0].name: required",
        ),
        (spec("image: {tag: v1, digest: abc}"), "spec.image.digest: must be sha256: and 64"),
        (spec("gpu: {mode: Magic}"), "spec.gpu.mode: must be one of ExternalName, Headless, None"),
        (spec("gpu: {mode: ExternalName, host: 10.0.0.1}"), "spec.gpu.host: must be a DNS name"),
        (spec("replicas: true"), "spec.replicas: must be an integer"),
        (spec("replicas: 101"), "spec.replicas: must be at most 100"),
        (spec("paused: 1"), "spec.paused: must be true or false"),
        (spec("servce: {}"), "spec.servce: unknown field"),
        (spec("gateway: {hosts: []}").replace("name: r", "name: R R"), "metadata.name: must be"),
        (spec("paused: true").replace("name: r", "name: r, namespace: a/b"), "metadata.namespace"),
        (HEAD + "spec: [a]\n", "r: spec: must be an object"),
    ],
)
def test_an_error_in_a_file_is_one_line(
    text: str, problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = rendered(text, tmp_path, capsys)
    assert (code, out) == (Exit.USAGE, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert problem in err


def test_only_some_of_many_problems_are_listed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = ", ".join(f"{name}: 1" for name in "abcdefghijkl")
    _, _, err = rendered(spec(f"paused: true\n  relay: {{{fields}}}"), tmp_path, capsys)
    assert err.count("unknown field") == 8
    assert err.endswith("; and 4 more\n")


def test_a_file_is_read_as_kubectl_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations = "{built: 2026-01-01, at: 12:30, 1: b, yes: c}"
    code, out, _ = rendered(
        spec(f"podTemplate: {{annotations: {annotations}}}\n  service:\n  replicas: null"),
        tmp_path,
        capsys,
    )
    assert code == 0
    (deployment,) = [one for one in load_documents(out) if one["kind"] == "Deployment"]
    found = deployment["spec"]["template"]["metadata"]["annotations"]
    assert found == {"built": "2026-01-01", "at": "12:30", "1": "b", "yes": "c"}
    assert deployment["spec"]["replicas"] == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0x1F", 31),
        ("-3", -3),
        ("1_000", 1000),
        ("0", 0),
        ("1.5e3", 1500.0),
        (".inf", ".inf"),
        ("1e3", "1e3"),
        ("080", "080"),
        ("yes", True),
        ("~", None),
        ("{<<: {a: 1}, a: 2}", {"a": 2}),
    ],
)
def test_scalars_become_json_values(text: str, value: Any) -> None:  # noqa: ANN401 (any JSON)
    assert load_documents(text) == [value]


def test_nested_aliases_do_not_exhaust_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    with pytest.raises(ValueError, match="more than 500000 values"):
        load_documents("\n".join(lines))


def test_the_error_quotes_nothing_of_the_document() -> None:
    for text in ("a: !planted x", "a: [planted\nb: c", "planted: 'a", "a: *planted", "a\0planted"):
        with pytest.raises(ValueError, match=r"in line|YAML does not allow") as caught:
            load_documents(text)
        assert "planted" not in str(caught.value)


@pytest.mark.parametrize("path", sorted((ROOT / "deploy" / "examples").glob("*.yaml")))
def test_the_examples_are_valid(path: Path) -> None:
    try:
        relays = read_relays(str(path), "shop")
    except CliError as error:
        assert "contains no TokenplaceRelay" in str(error)  # noqa: PT017 (most contain one)
        return
    for one in relays:
        assert parse_file({**one, "metadata": {"uid": "u", **one["metadata"]}}).name


def test_the_schema_is_that_of_the_crd() -> None:
    script = ROOT / "docs" / "generate_schema.py"
    done = subprocess.run([sys.executable, script, "--check"], check=False)
    assert done.returncode == 0, "the CRD has changed: run make docs"
