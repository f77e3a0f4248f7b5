from __future__ import annotations

import pytest

from ..sandbox.kernel import kernel


@pytest.fixture
def needs_sandbox() -> None:
    """Skip where this kernel can isolate nothing."""
    if kernel().level == "D":
        pytest.skip("this kernel has neither namespaces nor Landlock")


@pytest.fixture(params=["subprocess", "sandbox"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend of the `python` tool that can be had here."""
    if request.param == "sandbox":
        request.getfixturevalue("needs_sandbox")
    return str(request.param)
