"""One warm sandbox for the tests of this folder that need no more."""

from pathlib import Path

import pytest
import pytest_asyncio

from qwq_env.sandbox import LocalSandbox


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bare():
    """A started sandbox without preloaded modules, at the strongest level of this machine."""
    async with LocalSandbox(slots=2, preload=(), allow_unsafe=True) as sandbox:
        await sandbox.start()
        yield sandbox


@pytest.fixture
def given_hostile() -> Path:
    """The folder of hostile programs that lies beside the checkout, where it does."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "hostile"
    if not (folder / "manifest.json").exists():
        pytest.skip("../shared/hostile is not here")
    return folder
