"""One warm sandbox for the tests of this folder that need no more; a watch over the event loop."""

import asyncio
import contextlib
import gc
import time
from pathlib import Path

import pytest
import pytest_asyncio

from qwq_env.sandbox import LocalSandbox

from .kernel import require


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def bare():
    """A started sandbox without preloaded modules, at the strongest level of this machine."""
    async with LocalSandbox(slots=2, preload=(), allow_unsafe=True) as sandbox:
        await sandbox.start()
        yield sandbox


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def started():
    """Returns a sandbox of two slots, of just the layers of a plan, one for all tests of a file."""
    sandboxes = {}
    async with contextlib.AsyncExitStack() as stack:

        async def start(plan):
            require(plan)
            if plan not in sandboxes:
                sandbox = LocalSandbox(
                    slots=2, preload=(), plan=plan, allow_unsafe=True, cgroup="off"
                )
                sandboxes[plan] = await stack.enter_async_context(sandbox)
                await sandbox.start()
            return sandboxes[plan]

        yield start


@pytest.fixture
def given_hostile() -> Path:
    """The folder of hostile programs that lies beside the checkout, where it does."""
    folder = Path(__file__).resolve().parents[3] / "shared" / "hostile"
    if not (folder / "manifest.json").exists():
        pytest.skip("../shared/hostile is not here")
    return folder


@pytest.fixture
def watch():
    """Asserts that the event loop did not stand still, and memory did not grow, in its body."""
    return _watch


@contextlib.asynccontextmanager
async def _watch(most_stall=0.05, most_growth=64 << 20):
    gc.collect()
    gc.freeze()  # the test's own objects are not searched for garbage on an answer's account
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now on
    began = _peak()
    with _turns() as computed:
        yield
        await asyncio.sleep(0.002)
    assert max(computed) < most_stall
    assert _peak() - began < most_growth


@contextlib.contextmanager
def _turns():
    """Gives how long the loop's thread computed each time that it was awake: in processor time,
    since the machine may be busy. A task that looked at the clock in each turn would keep it busy
    itself."""
    selector, computed, woken = asyncio.get_running_loop()._selector, [], time.thread_time()

    def select(timeout=None):
        nonlocal woken
        computed.append(time.thread_time() - woken)
        ready = type(selector).select(selector, timeout)
        woken = time.thread_time()
        return ready

    selector.select = select
    try:
        yield computed
    finally:
        del selector.select


def _peak():
    """Return the most memory that this process has held, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) << 10
