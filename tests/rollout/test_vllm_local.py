"""Servers that are forked from one process, with a stand-in for vLLM; real ones: `integration`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.rollout.vllm_local import cpu_servers, serve_on_cpu

SERVER = """\
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, HTTPServer

class Models(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        said = {"root": said_of["--model"], "processes": [os.getpid(), engine]}
        self.wfile.write(json.dumps({"data": [said]}).encode())

if __name__ == "__main__":
    said_of = dict(zip(sys.argv, sys.argv[1:]))
    engine = os.fork()
    if not engine:
        time.sleep(600)
    HTTPServer(("127.0.0.1", int(said_of["--port"])), Models).serve_forever()
"""
PROGRAM = """
import sys, time
from qwq_env.rollout.vllm_local import serve_on_cpu
with serve_on_cpu(sys.argv[1], sys.executable) as url:
    print(url, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def imports(tmp_path, monkeypatch) -> Path:
    """A file with a line for each time that vLLM was imported: one with a server and an engine."""
    package = tmp_path / "vllm" / "entrypoints" / "openai"
    package.mkdir(parents=True)
    (package / "api_server.py").write_text(SERVER)
    found = tmp_path / "imports"
    (tmp_path / "vllm" / "__init__.py").write_text(f"open({str(found)!r}, 'a').write('again\\n')")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    return found


def processes(url: str) -> list[int]:
    with urllib.request.urlopen(f"{url}/v1/models") as answer:
        return json.load(answer)["data"][0]["processes"]


def wait_for_the_end_of(pids: list[int]) -> None:
    deadline = time.monotonic() + 60
    while any(map(runs, pids)):
        assert time.monotonic() < deadline, "a process is left"
        time.sleep(0.02)


def runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_two_servers_of_one_import(imports, tmp_path):
    with cpu_servers(sys.executable) as servers:
        with servers.serve(tmp_path) as one, servers.serve(tmp_path) as other:
            started = [*processes(one), *processes(other)]
        wait_for_the_end_of(started)

    assert len(set(started)) == 4
    assert imports.read_text() == "again\n"


def test_engine_does_not_outlive_its_server(imports, tmp_path):
    with serve_on_cpu(tmp_path, sys.executable) as url:
        started = processes(url)
        os.kill(started[0], signal.SIGKILL)
        wait_for_the_end_of(started)


def test_server_does_not_outlive_who_asked_for_it(imports, tmp_path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asked:
        assert asked.stdout is not None
        started = processes(asked.stdout.readline().strip())
        asked.kill()
        wait_for_the_end_of(started)


def test_end_of_the_log_says_why_there_is_no_server(tmp_path):
    with (
        pytest.raises(InfrastructureError, match=r"did not start.*\n[^$]*No module named 'vllm'"),
        serve_on_cpu(tmp_path, sys.executable),
    ):
        pass


def test_interpreter_that_is_not_there(tmp_path):
    with pytest.raises(UsageError, match="nowhere"), serve_on_cpu(tmp_path, tmp_path / "nowhere"):
        pass
