"""What a phase says of itself where there is no terminal to draw a bar on."""

from __future__ import annotations

import re

import pytest

from qwq_env.training import progress
from qwq_env.training.progress import Reporter


@pytest.fixture
def phase(monkeypatch):
    """A phase of four things, on a machine so busy that each is told of."""
    monkeypatch.setattr(progress, "_LOG_SECONDS", -1.0)
    return Reporter().phase("evaluate", 4, "episodes")


def test_before_the_first_is_done_nobody_knows_what_is_left(phase, capsys):
    with phase:
        phase.advance(0)
    begun, told, ended = capsys.readouterr().err.splitlines()

    assert begun.endswith("begins") and ended.endswith("ended")
    assert re.fullmatch(r"evaluate +0/4  0 s  0\.0 episodes/s", told)


def test_what_is_left_goes_by_what_is_done(phase, capsys):
    with phase:
        phase.advance(3, note="loss 0.5")
    told = capsys.readouterr().err.splitlines()[1]

    assert re.fullmatch(r"evaluate +3/4  0 s  [\d.]+ episodes/s, 0 s left  loss 0\.5", told)
