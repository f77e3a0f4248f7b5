"""Runs in a peer's own environment: `python _sandbox_peers.py NAME [WARM-UP]`.

One worker of a peer: it reads a line of JSON that holds programs, runs them one after another, and
answers with a line that holds what each printed, as far as it knows. It imports nothing of this
library. As many workers run side by side as give the peer its highest rate.
"""

import atexit
import contextlib
import io
import json
import os
import subprocess
import sys


def bare():
    """What most codebases do: an interpreter for each program."""

    def execute(code):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        return done.stdout

    return execute


def fork():
    """The fastest way there is: a fork of a warm process, with no isolation and no limit at all.

    The program may read and end whatever its parent may, and it runs for as long as it likes.
    """
    import gc

    for code in sys.argv[2:]:
        exec(code, {})
    gc.freeze()

    def execute(code):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(writer, 1)
            sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb"))
            exec(code, {"__name__": "__main__"})
            sys.stdout.flush()
            os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as output:
            printed = output.read()
        os.waitpid(pid, 0)
        return printed

    return execute


def reference():
    """The interpreter itself, all programs in one process: what the others must print too."""

    def execute(code):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, {"__name__": "__main__"})
        return printed.getvalue()

    return execute


def gem():
    """GEM's python tool: a subprocess for each call."""
    from gem.tools.python_code_tool import PythonCodeTool

    tool = PythonCodeTool(timeout=150)
    return lambda code: str(tool.execute_action(f"<python>{code}</python>"))


def skyrl_gym():
    """SkyRL-Gym's python tool group: a subprocess for each call."""
    from skyrl_gym.tools.python import PythonCodeExecutorToolGroup

    tools = PythonCodeExecutorToolGroup(timeout=150)
    return lambda code: str(tools.python(code))


def ipykernel():
    """A Jupyter kernel, asked as its messaging documentation says; its state is kept.

    `execute_interactive`, which does the same and prints, is slower.
    """
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel()
    atexit.register(manager.shutdown_kernel, now=True)

    def execute(code):
        asked = client.execute(code, store_history=False, allow_stdin=False)
        printed = []
        while True:
            message = client.get_iopub_msg(timeout=150)
            if message["parent_header"].get("msg_id") != asked:
                continue
            content = message["content"]
            if message["msg_type"] == "stream":
                printed.append(content["text"])
            elif message["msg_type"] == "error":
                raise RuntimeError(content["evalue"])
            elif content.get("execution_state") == "idle":
                client.get_shell_msg(timeout=150)
                return "".join(printed)

    return execute


def smolagents(kept=False):
    """smolagents' interpreter: an evaluator of syntax trees in the caller's own process."""
    from smolagents.local_python_executor import LocalPythonExecutor

    def fresh():
        executor = LocalPythonExecutor(["sympy"])
        executor.send_tools({})
        return executor

    session = fresh()
    return lambda code: (session if kept else fresh())(code).logs


def smolagents_session():
    """The same, its state kept: compare it with a session."""
    return smolagents(kept=True)


SIDES = (bare, fork, reference, gem, skyrl_gym, ipykernel, smolagents, smolagents_session)


def main():
    """Answer on what was standard output; whatever else prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w")
    os.set_inheritable(answers.fileno(), False)
    os.dup2(2, 1)
    execute = {side.__name__: side for side in SIDES}[sys.argv[1]]()
    execute("print(1)")
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps([execute(code) for code in json.loads(line)]), file=answers, flush=True)


if __name__ == "__main__":
    main()
