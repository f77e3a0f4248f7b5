from __future__ import annotations

import pytest_asyncio

from qwq_env.grading.code import CodeGrader
from qwq_env.sandbox import LocalSandbox


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sandbox():
    async with LocalSandbox() as sandbox:
        yield sandbox


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def grader(sandbox):
    return CodeGrader(sandbox)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def parity(sandbox):
    """A grader that compares numbers as LiveCodeBench does."""
    return CodeGrader(sandbox, numbers="livecodebench")
