"""Runs tests on copies of the tree, each with one fault in it."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from .fault import Fault

LONGEST = 300
"""Seconds for one fault's tests; those that hang have seen it too."""

_NOT_COPIED = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "runs", "build", "dist")
_OUTCOMES = {0: "SURVIVED", 1: "killed"}


def run(root: Path, faults: list[Fault], jobs: int) -> int:
    """Prints a line a fault and a summary; 0 if none survived, 1 if any did, 2 if the tests fail
    without a fault or can't be run, which would say nothing about it."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies: queue.SimpleQueue[Path] = queue.SimpleQueue()
        for number in range(jobs):
            copy = Path(folder) / str(number) / "tree"
            shutil.copytree(root, copy, symlinks=True, ignore=_NOT_COPIED)
            copies.put(copy)
        tests = sorted({test for fault in faults for test in fault.tests})
        print(f"without a fault: {len(tests)} tests or files", flush=True)
        code, output = _tested(copy, tests, LONGEST * len(tests))
        if code != 0:
            print(output)
            return 2
        with ThreadPoolExecutor(jobs) as threads:
            trials = [threads.submit(_try, copies, fault) for fault in faults]
            outcomes = [_told(trial.result()) for trial in as_completed(trials)]
    survived, failed = outcomes.count("SURVIVED"), outcomes.count("ERROR")
    print(f"{len(faults)} faults, {survived} survived" + (f", {failed} errors" if failed else ""))
    return 2 if failed else int(survived > 0)


def _told(trial: tuple[str, Fault, float, str]) -> str:
    outcome, fault, seconds, told = trial
    print(f"{outcome:8} {fault.id:40} {seconds:5.1f} s  {told}", flush=True)
    return outcome


def _try(copies: queue.SimpleQueue[Path], fault: Fault) -> tuple[str, Fault, float, str]:
    began = time.monotonic()
    copy = copies.get()
    try:
        with _put_in(fault, copy):
            code, output = _tested(copy, fault.tests, LONGEST)
    except (ValueError, OSError) as error:
        return "ERROR", fault, 0.0, str(error)
    finally:
        copies.put(copy)
    seconds = time.monotonic() - began
    if code == -signal.SIGKILL:
        return "killed", fault, seconds, f"by its tests, which took more than {LONGEST} s"
    outcome = _OUTCOMES.get(code, "ERROR")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", output, re.MULTILINE)
    told = {"killed": f"by {failed[1]}" if failed else output, "SURVIVED": fault.breaks}
    return outcome, fault, seconds, told.get(outcome, output)


@contextmanager
def _put_in(fault: Fault, copy: Path):
    """The fault in the copy, and out of it again; the file's times too, which byte code goes by."""
    path = copy / fault.file
    text, times = path.read_text(encoding="utf-8"), path.stat()
    path.write_text(fault.applied(text), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(text, encoding="utf-8")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def _tested(copy: Path, tests: list[str], seconds: float) -> tuple[int, str]:
    """The exit code of pytest and what it printed; -SIGKILL where it had to be ended."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider", *tests]
    # A fault of the same length in the same second would be taken for the bytecode that is there.
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, cwd=copy, env=environment, stdout=output, stderr=output, start_new_session=True
        )
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
        output.seek(0)
        return code, output.read()
