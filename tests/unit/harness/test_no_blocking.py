"""The watch over calls that block a loop, which tests/conftest.py keeps."""

from pathlib import Path

import pytest
from blockbuster import BlockingError

from tokenplace_operator.kube import upgrade_crd


async def test_a_call_of_ours_that_blocks_the_loop_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "crd.json"
    file.write_text("{}")
    with pytest.raises(BlockingError):
        upgrade_crd.read(file)
