"""Runs in a peer's own environment: `python _sandbox_peers.py NAME PLAIN SYMBOLIC SECONDS`.

Prints `[plain per second, symbolic per second]`: each snippet as often as the peer manages from
as many threads as there are cores and one, with a fresh state each time where the peer offers it.
It imports nothing of this library.
"""

import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor


def gem():
    """GEM's python tool: a bare subprocess per call."""
    from gem.tools.python_code_tool import PythonCodeTool

    tool = PythonCodeTool(timeout=20)

    def execute(code):
        answer = tool.execute_action(f"<python>{code}</python>")
        if not answer[0]:
            raise RuntimeError(f"not executed: {answer}")

    return execute


def skyrl_gym():
    """SkyRL-Gym's python tool group: a bare subprocess per call."""
    from skyrl_gym.tools.python import PythonCodeExecutorToolGroup

    tools = PythonCodeExecutorToolGroup(timeout=20)
    return lambda code: tools.python(code)


def ipykernel():
    """One Jupyter kernel, its state kept: compare it with a session."""
    from jupyter_client.manager import start_new_kernel

    _, client = start_new_kernel()

    def execute(code):
        client.execute_interactive(code, timeout=60, output_hook=lambda message: None)

    return execute


def smolagents():
    """smolagents' interpreter: an evaluator of syntax trees in the caller's own process."""
    from smolagents.local_python_executor import LocalPythonExecutor

    def execute(code):
        executor = LocalPythonExecutor(["sympy"])
        executor.send_tools({})
        executor(code)

    return execute


def per_second(execute, code, threads, seconds):
    """How often `code` is executed, by that many threads together."""
    execute(code)
    end = time.perf_counter() + seconds

    def work(_):
        count = 0
        while time.perf_counter() < end:
            execute(code)
            count += 1
        return count

    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        total = sum(pool.map(work, range(threads)))
    return round(total / (time.perf_counter() - began), 1)


def main():
    name, plain, symbolic, seconds = sys.argv[1:]
    execute = {f.__name__: f for f in (gem, skyrl_gym, ipykernel, smolagents)}[name]()
    # A kernel and an evaluator run one thing at a time.
    threads = 1 if name in ("ipykernel", "smolagents") else len(os.sched_getaffinity(0)) + 1
    rates = [per_second(execute, code, threads, float(seconds)) for code in (plain, symbolic)]
    print("\n" + json.dumps(rates), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
