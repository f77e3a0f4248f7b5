"""No thread of ours aborts an interpreter that ends, or keeps it from its end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ended(tmp_path_factory) -> dict[str, tuple[int, str]]:
    """Return the exit code of each way to end, and what was said."""
    folder = tmp_path_factory.mktemp("ended")
    command = [sys.executable, "-m", "tests.training.interpreter_ends", str(folder)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout)
    return {way: (code, (folder / way).read_text()) for way, code in codes.items()}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["cancelled", "abandoned"])
def test_the_interpreter_ends_in_the_middle_of_generation(ended, how):
    code, said = ended[how]

    assert "abort" not in said
    assert "terminate" not in said
    assert code == 0


@pytest.mark.slow
def test_a_trainer_that_ends_without_a_word_is_not_held_up(ended):
    code, said = ended["trainer_ended"]

    assert code == 1
    assert said.strip().splitlines()[-1] == "the trainer ended"
