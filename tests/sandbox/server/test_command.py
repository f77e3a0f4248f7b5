"""What `qwq sandbox serve` refuses before it serves."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.sandbox.server import SandboxServer, add_serve_arguments
from qwq_env.sandbox.server.command import read_token, service


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_serve_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", ""])
def test_without_a_token_only_this_machine_is_served(host: str, sandbox: Any) -> None:
    with pytest.raises(UsageError, match="not a loopback address"):
        SandboxServer(sandbox, host=host)
    SandboxServer(sandbox, host=host, token="a-long-enough-token")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "localhost", "::1"])
def test_loopback_needs_no_token(host: str, sandbox: Any) -> None:
    assert host.split(":")[0] in SandboxServer(sandbox, host=host).url


@pytest.mark.parametrize("token", ["", "short", "x" * 15, "é" * 20, "a b" * 10, "a" * 20 + "\r\n"])
def test_a_token_that_protects_nothing_is_refused_and_not_shown(token: str, sandbox: Any) -> None:
    with pytest.raises(UsageError, match="token") as refused:
        SandboxServer(sandbox, token=token)

    assert not token or token not in str(refused.value)


async def test_an_address_in_use_is_the_operators_error(start: Any, sandbox: Any) -> None:
    server = await start()
    port = int(server.url.rpartition(":")[2])

    with pytest.raises(UsageError, match="cannot be bound"):
        await SandboxServer(sandbox, port=port).start()


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--port", "70000"), "port"),
        (("--queue", "-1"), "queue"),
        (("--sessions", "-1"), "sessions"),
        (("--session-idle", "0"), "session-idle"),
        (("--session-idle", "nan"), "session-idle"),
        (("--max-body", "0"), "max-body"),
        (("--drain", "-1"), "drain"),
        (("--drain", "nan"), "drain"),
        (("--max-seconds", "-5"), "max-seconds"),
        (("--max-memory", "1"), "max-memory"),
    ],
)
def test_an_absurd_option_is_named(words: tuple[str, ...], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        service(parse(*words))


def test_the_options_become_the_limits() -> None:
    limits = service(parse("--max-seconds", "7", "--max-memory", "99", "--max-body", "2"))

    assert (limits.maxima.wall_seconds, limits.maxima.cpu_seconds) == (7, 7)
    assert limits.maxima.memory_mb == 99
    assert limits.max_body == 2 << 20


@pytest.mark.parametrize(("hard", "connections"), [(600, 300), (1000, 400)])
def test_connections_leave_descriptors_to_slots_and_sessions(hard: int, connections: int) -> None:
    program = f"""
from resource import RLIMIT_NOFILE, getrlimit, setrlimit
from qwq_env.sandbox.server.command import within_descriptors
from qwq_env.sandbox.server import ServiceLimits
setrlimit(RLIMIT_NOFILE, (256, {hard}))
print(within_descriptors(ServiceLimits(connections=400)).connections, getrlimit(RLIMIT_NOFILE))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert (done.stdout, done.stderr) == (f"{connections} ({hard}, {hard})\n", "")


def test_the_token_is_read_from_the_file_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    file.write_text("from-the-file\n")
    monkeypatch.setenv("QWQ_SANDBOX_TOKEN", "from-the-environment")

    assert read_token(file) == "from-the-file"
    assert read_token(None) == "from-the-environment"
    monkeypatch.setenv("QWQ_SANDBOX_TOKEN", "")
    assert read_token(None) is None


def test_a_token_file_that_is_no_use(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")

    for name in ("empty", "binary", "absent"):
        with pytest.raises(UsageError, match="token-file"):
            read_token(tmp_path / name)


@pytest.mark.parametrize("words", [("--host", "0.0.0.0"), ("--slots", "0"), ("--require", "Z")])
def test_the_command_says_what_is_wrong_in_one_line(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("QWQ_SANDBOX_TOKEN", raising=False)

    code = main(["sandbox", "serve", *words])

    assert code == 2
    assert capsys.readouterr().err.count("\n") == 1
