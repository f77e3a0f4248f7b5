from __future__ import annotations

import asyncio

import pytest

from qwq_env.sandbox import LevelUnavailable, LocalSandbox


@pytest.fixture(scope="session")
def sandbox_level() -> str:
    """The level of isolation that this machine offers; `""` where it offers none."""

    async def start() -> str:
        async with LocalSandbox(slots=1, preload=()) as sandbox:
            await sandbox.start()
            return sandbox.level or ""

    try:
        return asyncio.run(start())
    except LevelUnavailable:
        return ""


@pytest.fixture
def needs_sandbox(sandbox_level: str) -> None:
    """Skip where nothing isolates."""
    if not sandbox_level:
        pytest.skip("no isolation can be had on this machine")


@pytest.fixture(params=["subprocess", "sandbox"])
def backend(request: pytest.FixtureRequest) -> str:
    """Each backend of the `python` tool that can be had here."""
    if request.param == "sandbox":
        request.getfixturevalue("needs_sandbox")
    return str(request.param)
