"""Imports vLLM once, and forks a server each time it is asked for one.

Run by the interpreter that has vLLM, of which this file knows nothing but the standard library:
`vllm_local.py` starts it, with one end of a socket as its standard input. A message is a JSON list,
the server's arguments, and brings two files: where the server logs to, and a pipe that ends when
whoever asked is gone. The answer is the server's process id.

vLLM starts three processes a server, and on CPU has each of them import it anew, some ten seconds
of a processor each time; forked, they have it already.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import multiprocessing
import os
import runpy
import select
import signal
import socket
import sys
import threading
from typing import Any

_SERVER = "vllm.entrypoints.openai.api_server"
_STARTS = "vllm.utils.system_utils"
_INFORMATION = "vllm.entrypoints.serve.dev.server_info.api_router"
_IMPORTED = (
    _SERVER, "vllm.v1.engine.core", "vllm.v1.worker.cpu_worker",
    # What each of a server's processes would import once it has begun.
    "vllm.v1.engine.async_llm", "vllm.v1.core.sched.scheduler", "vllm.renderers.hf",
    "vllm.entrypoints.openai.models.api_router", "vllm.entrypoints.generate.api_router",
    "vllm.entrypoints.openai.responses.api_router", "vllm.entrypoints.serve.lora.api_router",
    "vllm.model_executor.layers.quantization.online.base", "vllm.v1.attention.backends.cpu_attn",
    "vllm.distributed.elastic_ep.elastic_execute", "uvicorn.protocols.http.httptools_impl",
)  # fmt: skip
_LONGEST_MESSAGE = 1 << 16
_WATCH_SECONDS = 0.5


def main() -> None:
    """Fork servers until nobody is there to ask for more."""
    control = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # A server that has it, too, would hold it open.
    gc.disable()  # Nothing of what is imported is garbage: nor is it searched in a server.
    import_all()
    gc.freeze()
    gc.enable()
    # The servers are not waited for: the system is to forget them as they end.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, files, *_ = socket.recv_fds(control, _LONGEST_MESSAGE, 2)
        if not message:
            return
        process = os.fork()
        if process == 0:
            control.close()
            serve(json.loads(message), *files)
        for file in files:
            os.close(file)
        control.sendall(b"%d\n" % process)


def import_all() -> None:
    """Import vLLM, with processes that are forked, which it would not do on a CPU, and with nothing
    to tell of the machine: whoever asks for its settings would wait until pip, asked again and
    again, has listed what is installed."""
    for name in (_STARTS, _INFORMATION, *_IMPORTED):
        # What another version calls otherwise is imported later, by the processes that need it;
        # where there is none at all, the server says so.
        with contextlib.suppress(ImportError):
            module: Any = importlib.import_module(name)
            if name == _STARTS:
                module.get_mp_context = lambda: multiprocessing.get_context("fork")
            if name == _INFORMATION:
                module._get_system_env_info_cached = dict


def serve(arguments: list[str], log: int, life: int) -> None:
    """Become the server; does not return."""
    os.setsid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.dup2(log, 1)
    os.dup2(log, 2)
    watch(life)
    os.register_at_fork(after_in_child=lambda: watch(life, os.getppid()))
    sys.argv = [_SERVER, *arguments]
    runpy.run_module(_SERVER, run_name="__main__", alter_sys=True)
    sys.exit()


def watch(life: int, parent: int | None = None) -> None:
    """End the server's every process once the pipe ends, or the one that forked this one: a
    process that is killed cannot do it, and its engine would hold the port and answer nobody."""

    def wait() -> None:
        while not select.select([life], [], [], _WATCH_SECONDS)[0]:
            if parent is not None and os.getppid() != parent:
                break
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=wait, daemon=True).start()


if __name__ == "__main__":
    main()
