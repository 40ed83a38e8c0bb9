"""The page's sources: their tests, their build, and that the committed page is what they give."""

import gzip
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tokenplace_harness.browser import sources
from tokenplace_relay.protocol import envelope
from tokenplace_relay.protocol.envelope import Identity, Sealed

WIRE_LIMIT = 120 * 1024
TARGETS = ("app-", "icon-", "index.html")


@pytest.fixture(scope="module")
def packages() -> Path:
    return sources.packages()


@pytest.fixture(scope="module")
def built(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    del packages
    target = tmp_path_factory.mktemp("built")
    sources.run(sources.node(), "build.mjs", str(target))
    return target


def plain(folder: Path) -> dict[str, bytes]:
    files = [one for one in folder.iterdir() if one.suffix not in {".gz", ".br"}]
    return {one.name: one.read_bytes() for one in files}


def test_types_are_right(packages: Path) -> None:
    del packages
    sources.run(sources.node(), "node_modules/typescript/bin/tsc", "--noEmit")


def test_logic(packages: Path) -> None:
    del packages
    said = sources.run(sources.node(), "test.mjs")
    assert "# fail 0" in said
    assert "# skipped 0" in said


def test_committed_page_is_what_the_sources_give(built: Path) -> None:
    """Compared uncompressed: compressors differ from one Node to the next."""
    assert plain(sources.BUILT) == plain(built)


def test_compressed_files_hold_the_same(built: Path) -> None:
    del built
    unpack = (
        "const {brotliDecompressSync: open} = require('zlib');"
        "const {readFileSync: read} = require('fs');"
        "process.stdout.write(open(read(process.argv[1])))"
    )
    for name, content in plain(sources.BUILT).items():
        assert name.startswith(TARGETS)
        assert gzip.decompress((sources.BUILT / f"{name}.gz").read_bytes()) == content
        given = [str(sources.BUILT / f"{name}.br")]
        done = subprocess.run(
            [sources.node(), "-e", unpack, *given], capture_output=True, check=True
        )
        assert done.stdout == content


@pytest.mark.parametrize("suffix", [".gz", ".br"])
def test_whole_page_is_small(suffix: str) -> None:
    """Also with the heads of its four answers, at most 1 KB each."""
    files = list(sources.BUILT.glob(f"*{suffix}"))
    assert len(files) == 4
    assert sum(one.stat().st_size for one in files) + 4 * 1024 <= WIRE_LIMIT


def test_page_names_no_other_place(built: Path) -> None:
    html = plain(built)["index.html"].decode()
    assert "://" not in html
    assert "<style" not in html
    assert " style=" not in html
    assert html.count("<script") == html.count('<script type="module" src="/assets/')


def test_lock_file_pins_everything_and_names_no_place_to_load_from() -> None:
    lock = json.loads((sources.FOLDER / "package-lock.json").read_text())
    packages = {name: one for name, one in lock["packages"].items() if name}
    assert all(one["version"] and one["integrity"] for one in packages.values())
    assert not [name for name, one in packages.items() if "resolved" in one]


def test_wheel_holds_the_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=sources.FOLDER.parent, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = {name.rpartition("/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    assert {one.name for one in sources.BUILT.iterdir()} <= inside
    assert not inside & {"package.json", "build.mjs", "main.tsx"}


@pytest.mark.parametrize("padding", ["oaep", "pkcs1v15"])
def test_both_languages_read_each_other(packages: Path, padding: envelope.Padding) -> None:
    """The page's code opens what Python sealed, and Python opens what the page's code sealed."""
    del packages
    node = Identity.create()
    given = {"node": node.public, "text": "wie geht's? \u2603 \U0001f98a", "padding": padding}
    environment = {**os.environ, "PEER": json.dumps(given)}
    with subprocess.Popen(
        [sources.node(), "peer.mjs"],
        cwd=sources.FOLDER,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as peer:
        assert peer.stdin is not None
        assert peer.stdout is not None
        asked = json.loads(peer.stdout.readline())
        work = Sealed(asked["ciphertext"], asked["cipherkey"], asked["iv"])
        inner = node.open(work)
        envelope.check(inner, asked["request_id"], asked["client_public_key"])
        assert inner["api_v1_request"]["messages"][0]["content"] == given["text"]
        reply = {"message": {"role": "assistant", "content": given["text"]}}
        answer = envelope.response(asked["request_id"], asked["client_public_key"], reply)
        sealed = envelope.seal(answer, asked["client_public_key"], padding)
        outside = {name: asked[name] for name in ("request_id", "client_public_key")}
        body = {"ciphertext": sealed.ciphertext, "cipherkey": sealed.cipherkey, "iv": sealed.iv}
        peer.stdin.write(json.dumps({**outside, **body}) + "\n")
        peer.stdin.flush()
        opened = json.loads(peer.stdout.readline())
    # Nodes answer with the old padding; the new one is not for browsers.
    expected = given["text"] if padding == "pkcs1v15" else "Unreadable"
    assert opened == {"text": expected}
