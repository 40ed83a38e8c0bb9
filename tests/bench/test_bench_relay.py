"""The benchmark runs and prints every requested figure; other checks judge the figures."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(180)
def test_benchmark_measures_everything_in_one_run(tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    command = [
        sys.executable, "-m", "tokenplace_harness.bench", "--seconds", "0.5", "--clients", "2",
        "--nodes", "2", "--polls", "50", "--soak", "100", "--output", str(output),
        "--hold", "4", "--starts", "1",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=170)
    assert done.returncode == 0, done.stderr
    assert "round trips (times in ms)" in done.stdout
    result = json.loads(output.read_text())
    bare, relay = result["throughput"]
    assert (bare["server"], relay["server"]) == ("bare aiohttp", "this relay")
    assert relay["trips"] > 0
    assert relay["failures"] == 0
    assert relay["exchanges_per_second"] > relay["trips_per_second"]
    assert {row["server"] for row in result["held"]} == {"bare aiohttp", "this relay"}
    assert all(row["livez_ms"]["p99"] > 0 for row in result["held"])
    assert result["held"][1]["dispatch_ms"]["p99"] > 0
    assert result["start"]["idle_mb"] > 0
    assert result["soak"]["samples"][-1]["exchanges"] >= 100
