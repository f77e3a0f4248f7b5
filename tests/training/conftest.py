"""Parts that the tests of training share."""

from __future__ import annotations

import pytest

from .weight_server import weight_server_at


@pytest.fixture
def weight_server():
    """A server that takes weights, as far as its answers go."""
    with weight_server_at() as server:
        yield server
