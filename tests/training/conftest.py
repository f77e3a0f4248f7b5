"""Parts that the tests of training share."""

from __future__ import annotations

import pytest

from .weight_server import weight_server_at


@pytest.fixture
def weight_server(monkeypatch):
    """A server that takes weights, as far as its answers go; it is not waited for between tries."""
    monkeypatch.setattr("qwq_env.training.weights.servers._PAUSE_SECONDS", 0.001)
    with weight_server_at() as server:
        yield server
