"""Settings: which of the ways to give one wins, what is refused, and where all are listed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tokenplace_relay.settings.config import Config, about, load
from tokenplace_relay.settings.setting import About, ConfigError

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = str(Path(sys.executable).with_name("tokenplace-relay"))
NUMBERS = [one for one in about() if "number" in one.span]
BOOLEANS = [one for one in about() if one.span == "true or false"]
URL_RULE = "must be an http or https URL of a host, without user, query or fragment"

PORT_RULE = "must be a whole number from 0 to 65535"
LEVEL_RULE = "must be one of DEBUG, INFO, WARNING, ERROR, CRITICAL"
WORD_RULE = "must be letters, digits, '.', '_' and '-', beginning with a letter or digit"
UPSTREAM = "TOKENPLACE_RELAY_UPSTREAM_URL"


def serve(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "serve", *arguments],
        env={"PATH": os.environ["PATH"], "COLUMNS": "100", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_nothing_given_gives_the_defaults() -> None:
    assert load({}, {}) == Config()


def test_flag_wins_over_environment_and_older_name() -> None:
    environment = {"TOKENPLACE_GPU_PORT": "1", "GPU_SERVER_PORT": "2"}
    assert load(environment, {"gpu_port": "3"}).gpu_port == 3
    assert load(environment, {}).gpu_port == 1
    assert load({"GPU_SERVER_PORT": "2"}, {}).gpu_port == 2
    assert load({"TOKENPLACE_GPU_PORT": " ", "GPU_SERVER_PORT": "2"}, {}).gpu_port == 2


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("RELAY_PUBLIC_URL", "public_url"),
        ("TOKEN_PLACE_RELAY_PUBLIC_URL", "public_url"),
        ("TOKENPLACE_RELAY_PUBLIC_URL", "public_url"),
    ],
)
def test_names_of_older_releases_are_read(name: str, field: str) -> None:
    assert getattr(load({name: "https://relay.example.com"}, {}), field).endswith("example.com")


def test_lists_are_split_at_commas_and_lines() -> None:
    tokens = load({"TOKEN_PLACE_RELAY_SERVER_TOKENS": "a, b\nc,,"}, {}).server_tokens
    assert tokens == ("a", "b", "c")
    assert load({"TOKEN_PLACE_RELAY_SERVER_TOKEN": "d"}, {}).server_tokens == ("d",)


def test_list_has_what_both_of_its_variables_say() -> None:
    """A host may have the list of its relay and the token of its own node."""
    both = {"TOKEN_PLACE_RELAY_SERVER_TOKENS": "a,b", "TOKEN_PLACE_RELAY_SERVER_TOKEN": "b\n c"}
    assert load(both, {}).server_tokens == ("a", "b", "c")
    assert load({**both, "TOKEN_PLACE_RELAY_SERVER_TOKENS": " "}, {}).server_tokens == ("b", "c")


@pytest.mark.parametrize("one", about(), ids=lambda one: one.field)
def test_empty_variable_is_an_unset_one(one: About) -> None:
    if one.field != "metrics_token":
        assert load({one.variable: " "}, {}) == Config()


@pytest.mark.parametrize("one", [one for one in about() if one.also], ids=lambda one: one.field)
def test_empty_variable_does_not_hide_an_older_name(one: About) -> None:
    text = "https://relay.example.com" if "url" in one.field else "8"
    found = load({one.variable: "", one.also[-1]: text}, {})
    assert getattr(found, one.field) in (text, 8, (text,))


@pytest.mark.parametrize("name", ["TOKEN_PLACE_RELAY_SERVER_TOKENS", "RELAY_TRUSTED_PROXIES"])
def test_list_without_an_entry_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} has no entry$"):
        load({name: " ,\n, ", "TOKEN_PLACE_RELAY_SERVER_TOKEN": "t"}, {})


def test_flag_replaces_a_list() -> None:
    environment = {"RELAY_TRUSTED_PROXIES": "10.0.0.0/8"}
    found = load(environment, {"trusted_proxies": "192.0.2.0/24"}).trusted_proxies
    assert found == ("192.0.2.0/24",)


def test_metrics_token_set_to_nothing_is_not_unset() -> None:
    assert load({}, {}).metrics_token is None
    assert load({"TOKENPLACE_METRICS_TOKEN": ""}, {}).metrics_token == ""


@pytest.mark.parametrize("text", ["1", "true", "Yes", "ON"])
def test_words_for_true(text: str) -> None:
    assert load({"TOKENPLACE_METRICS_DISABLED": text}, {}).metrics_disabled is True


@pytest.mark.parametrize("one", NUMBERS, ids=lambda one: one.field)
@pytest.mark.parametrize("text", ["-1", "ten", "nan", "inf", "1e999", "0x10"])
def test_every_number_is_checked(one: About, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({one.variable: text}, {})
    assert str(caught.value) == f"{one.variable} must be {one.span}, got {text!r}"


@pytest.mark.parametrize("one", BOOLEANS, ids=lambda one: one.field)
def test_every_switch_is_checked(one: About) -> None:
    with pytest.raises(ConfigError, match=f"^{one.variable} must be true or false, got 'maybe'$"):
        load({one.variable: "maybe"}, {})


@pytest.mark.parametrize(
    ("flags", "environment", "line"),
    [
        (["--port", "65536"], {}, f"--port {PORT_RULE}, got '65536'"),
        ([], {"RELAY_PORT": "http"}, f"RELAY_PORT {PORT_RULE}, got 'http'"),
        ([], {"GPU_SERVER_PORT": "-1"}, f"GPU_SERVER_PORT {PORT_RULE}, got '-1'"),
        (["--log-level", "loud"], {}, f"--log-level {LEVEL_RULE}, got 'loud'"),
        ([], {UPSTREAM: "http://me:hush@gpu"}, f"{UPSTREAM} {URL_RULE}"),
        ([], {UPSTREAM: "gpu:3000"}, f"{UPSTREAM} {URL_RULE}"),
        (["--public-url", "relay.example.com"], {}, f"--public-url {URL_RULE}"),
        (["--gpu-host", "a b"], {}, "--gpu-host must be a host name or an address"),
        (["--release-version", "<b>"], {}, f"--release-version {WORD_RULE}"),
    ],
)
def test_bad_value_ends_the_process_with_one_line(
    flags: list[str], environment: dict[str, str], line: str
) -> None:
    done = serve(*flags, **environment)
    assert done.returncode == 2
    assert done.stderr == f"{line}\n"
    assert done.stdout == ""


@pytest.mark.parametrize(
    "host",
    [
        "gpu",
        "gpu-server.example.com",
        "gpu.example.",
        "a" * 63 + ".b",
        "10.0.0.7",
        "fd00::7",
        "a_b",
    ],
)
def test_hosts_that_can_be_asked_for(host: str) -> None:
    assert load({"TOKENPLACE_GPU_HOST": host}, {}).gpu_host == host


@pytest.mark.parametrize(
    "host",
    ["gpu..server", ".gpu", "a" * 64 + ".b", "gpu:3000", ":::", "fe80::1%eth0", "a." * 127 + "b"],
)
def test_hosts_that_cannot(host: str) -> None:
    """The resolver would refuse them, or a URL would have no place for them."""
    with pytest.raises(ConfigError, match="TOKENPLACE_GPU_HOST must be a host name"):
        load({"TOKENPLACE_GPU_HOST": host}, {})


@pytest.mark.parametrize("url", ["http://gpu..server", "https://" + "a" * 64 + ".b:1", "http://"])
def test_urls_of_hosts_that_cannot(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({UPSTREAM: url}, {})
    assert str(caught.value) == f"{UPSTREAM} {URL_RULE}"


def test_help_lists_every_setting() -> None:
    done = serve("--help")
    words = done.stdout.split()
    for one in about():
        assert one.variable in done.stdout, one
        assert one.secret or one.flag in words, one


def test_page_is_what_the_generator_writes() -> None:
    generator = ROOT / "docs" / "generate_relay_settings.py"
    checked = subprocess.run(
        [sys.executable, generator, "--check"], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize(
    "name", ["RELAY_MAX_READING_BYTES", "RELAY_MAX_QUEUED_BYTES", "RELAY_MAX_ANSWER_BYTES"]
)
def test_a_sum_has_room_for_one_envelope(name: str) -> None:
    """Else one that is allowed could never be taken."""
    settings = {"RELAY_MAX_ENVELOPE_BYTES": "5000000", name: "4999999"}
    with pytest.raises(ConfigError) as caught:
        load(settings, {})
    assert str(caught.value) == f"{name} must be at least RELAY_MAX_ENVELOPE_BYTES, 5000000"
    assert load({**settings, name: "5000000"}, {}).max_envelope_bytes == 5_000_000


def test_the_least_sum_of_bodies_is_that_of_the_default_envelope() -> None:
    with pytest.raises(ConfigError, match="RELAY_MAX_READING_BYTES must be at least"):
        load({"RELAY_MAX_READING_BYTES": "2097152"}, {})


@pytest.mark.parametrize("tag", ["main-0123456", "v1.2.3_x", "a" * 80])
def test_image_tags(tag: str) -> None:
    assert load({"TOKENPLACE_IMAGE_TAG": tag}, {}).image_tag == tag


@pytest.mark.parametrize("tag", ["reg.io/a:b", "<b>", "a b", "a" * 81, "-a", "é"])
def test_image_tags_that_are_none(tag: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load({"TOKENPLACE_IMAGE_TAG": tag}, {})
    assert str(caught.value) == f"TOKENPLACE_IMAGE_TAG {WORD_RULE}, at most 80 of them"


def test_flags_say_what_their_variables_bound() -> None:
    flags = {one.variable: one.flag for one in about()}
    assert flags["RELAY_MAX_QUEUED_BYTES"] == "--max-queued-bytes"
    assert flags["RELAY_MAX_RETRIEVES_PER_REQUEST"] == "--max-request-retrieves"
    assert load({}, {"max_request_bytes": "5000000"}).max_request_bytes == 5_000_000
    with pytest.raises(ConfigError, match=r"^--max-queued-bytes must be"):
        load({}, {"max_request_bytes": "1"})
