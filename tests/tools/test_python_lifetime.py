"""No process of the `python` tool outlives the interpreter that used it, however that ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys

import psutil
import pytest

PROLOGUE = """
import asyncio, os, sys, time
import psutil
from qwq_env import portal
from qwq_env.sandbox import LocalSandbox
from qwq_env.tools.python import PythonTool

LocalSandbox.__init__.__kwdefaults__["preload"] = ()  # they take longer than all the rest
tool = PythonTool(backend=sys.argv[1], seconds=5)

def run(code):
    return portal.run(tool.call({"code": code})).content

def report(*but):
    below = psutil.Process().children(recursive=True)
    print(*(process.pid for process in below if process.pid not in but), flush=True)
"""
ENDINGS = {
    "end": "run('x = 1'); report()",
    "error": "run('x = 1'); report(); raise ValueError('told')",
    "exit": "run('x = 1'); report(); os._exit(0)",
    "kill": "run('x = 1'); report(); time.sleep(1000)",
    "own loop": "asyncio.run(tool.call({'code': 'x = 1'})); report()",
    "fork": """
run('x = 1')
if os.fork() == 0:
    assert 'variables are lost' in run('print("child")')
    report()
    portal.run(tool.aclose())
    os._exit(0)
os.wait()
assert run('x') == '1', run('x')
report()
""",
    "abandoned fork": """
run('x = 1')
fork = os.fork()
if fork == 0:
    os.closerange(0, 3)
    time.sleep(60)
    os._exit(0)
report(fork)
os._exit(0)
""",
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_nothing_outlives_the_host(backend: str, ending: str) -> None:
    host = subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + ENDINGS[ending], backend],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert host.stdout is not None
    started = _processes(host.stdout.readline())
    if ending == "fork":
        started += _processes(host.stdout.readline())
    if ending == "kill":
        host.kill()
    errors = host.communicate(timeout=60)[1]
    _, alive = psutil.wait_procs(started, timeout=20)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(host.pid, signal.SIGKILL)

    assert started, errors
    assert not alive, [process.cmdline() for process in alive]
    if ending in ("end", "own loop", "fork"):
        assert (host.returncode, errors) == (0, "")


def _processes(line: str) -> list[psutil.Process]:
    found = []
    for pid in map(int, line.split()):
        try:
            found.append(psutil.Process(pid))
        except psutil.NoSuchProcess:
            continue
    return found
