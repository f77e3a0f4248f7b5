"""Our tools behind the Model Context Protocol, called by the SDK's own client and by ours."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from qwq_env.cli import main
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.rubric import Component, FinalTurn, Rubric
from qwq_env.tool import ToolError, tool
from qwq_env.tool_set import ToolSet
from qwq_env.toolbox import ToolLimits
from qwq_env.tools import Calculator, McpServer

from .parity import (
    SCRIPTS,
    ParityEnv,
    Tally,
    by_ids,
    by_messages,
    kind_of,
    look,
    run_snippet,
)

mcp = pytest.importorskip("mcp", reason="the extra `mcp` is not installed")
import httpx2  # noqa: E402
import uvicorn  # noqa: E402
from mcp.client.stdio import StdioServerParameters, stdio_client  # noqa: E402
from mcp.client.streamable_http import streamable_http_client  # noqa: E402
from mcp.shared.exceptions import MCPError  # noqa: E402

from qwq_env.interop import mcp_server as mcp_server_module  # noqa: E402
from qwq_env.interop.mcp_serve import http_app  # noqa: E402
from qwq_env.interop.mcp_server import mcp_server  # noqa: E402

EXAMPLES = Path(__file__).parents[2] / "examples"


class Notes(ToolSet):
    """What was noted in one session."""

    blocking = False

    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, line: str) -> int:
        """Note a line; says how many there are."""
        self.lines.append(line)
        return len(self.lines)


@tool(blocking=False)
def fails(how: str) -> str:
    """Fail as told."""
    if how == "machinery":
        raise InfrastructureError("the database is gone")
    raise ToolError("no such town") if how == "tool" else ValueError("a bug")


@tool
async def long(seconds: float) -> str:
    """Take long, and say much."""
    await asyncio.sleep(seconds)
    return "x" * 1000


def text(answer) -> str:
    return answer.content[0].text


@contextlib.asynccontextmanager
async def served(*tools, key=None, task=None, **bounds) -> AsyncIterator[tuple[str, object]]:
    """The tools over HTTP, on a real socket: the URL, and the server."""
    server = mcp_server(tools, task=task, **bounds)
    config = uvicorn.Config(http_app(server, key=key, **bounds), port=0, log_level="error")
    running = uvicorn.Server(config)
    serving = asyncio.create_task(running.serve())
    while not running.started:
        await asyncio.sleep(0.005)
    port = running.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}/mcp", server
    finally:
        running.should_exit = True
        await serving


@pytest.mark.parametrize("number", range(len(SCRIPTS)), ids=SCRIPTS)
async def test_a_client_reads_what_the_engine_lets_a_model_read(number):
    """The protocol carries results alone: those of an episode's calls, one after the other."""
    heard, task = [], ParityEnv().tasks.task(number)
    async with mcp.Client(mcp_server([Tally, look], task=task)) as client:
        for name, arguments in (c for said in list(SCRIPTS.values())[number] for c in said.calls):
            try:
                heard.append(text(await client.call_tool(name, arguments)))
            except MCPError as error:
                heard.append(f"Error: {error.error.message}")

    came = await by_messages(number, 0)
    read = [message[2] for message in came.messages if message[0] == "tool"]
    assert heard[: len(read)] == read
    assert came.reward is not None or heard == ["Error: the machinery is gone"]


class Behind(ParityEnv):
    """The environment, paid by what its tools said: their state stays behind a server."""

    def __init__(self, tools=(Tally, look)) -> None:
        super().__init__(tools=tools, rubric=Rubric([Component("said", said_right)]))


def said_right(final: FinalTurn) -> float:
    counted = any(r.content.startswith(f"{final.task.answer}, ") for r in final.results)
    return 0.5 * counted + 0.5 * (final.answer == "Done.")


@pytest.mark.parametrize("number", range(len(SCRIPTS)), ids=SCRIPTS)
async def test_an_environment_of_served_tools_comes_to_the_same(number, codec):
    async with served(Tally, look, task=ParityEnv().tasks.task(number)) as (url, _):
        remote = McpServer(url)
        env = Behind(await asyncio.to_thread(remote.tools))
        came = await by_ids(codec, number, 0, env)
        await asyncio.to_thread(remote.close)

    played = await by_ids(codec, number, 0, Behind())
    assert (came.reward is None) == (list(SCRIPTS)[number] == "lost")
    assert (came.ids, came.mask, came.reward) == (played.ids, played.mask, played.reward)
    assert kind_of(came.outcome.to_json()) == kind_of(played.outcome.to_json())


async def test_a_client_sees_each_tool_as_a_model_would():
    async with mcp.Client(mcp_server([Notes, Calculator()])) as client:
        listed = (await client.list_tools()).tools
        answer = await client.call_tool("calculator", {"expression": "6*7"})

    assert [each.name for each in listed] == ["note", "calculator"]
    assert listed[0].input_schema["required"] == ["line"]
    assert (text(answer), answer.is_error) == ("42", False)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("fails", {"how": "tool"}, "Error: no such town"),
        ("fails", {"how": "bug"}, "Error: ValueError: a bug"),
        ("fails", {}, "how"),
        ("fails", {"how": ["tool"]}, "how"),
        ("fails", {"how": "x" * 300_000}, "300"),
        ("long", {"seconds": 60}, "no answer within 0.05 seconds"),
    ],
)
async def test_what_a_model_can_mend_is_a_result_with_is_error(name, arguments, words):
    server = mcp_server([fails, long], limits=ToolLimits(seconds=0.05))
    async with mcp.Client(server) as client:
        answer = await client.call_tool(name, arguments)

    assert answer.is_error and words in text(answer)


async def test_an_output_is_cut():
    async with mcp.Client(mcp_server([long], limits=ToolLimits(characters=100))) as client:
        assert len(text(await client.call_tool("long", {"seconds": 0}))) < 200


@pytest.mark.parametrize(
    ("name", "how", "words"),
    [("fail", "tool", "did you mean 'fails'"), ("fails", "machinery", "the database is gone")],
)
async def test_what_no_model_can_mend_is_an_error_of_the_protocol(name, how, words):
    async with mcp.Client(mcp_server([fails])) as client:
        with pytest.raises(MCPError, match=words):
            await client.call_tool(name, {"how": how})


async def test_over_stdio_the_sdks_client_keeps_its_state(tmp_path):
    accounts = tmp_path / "accounts.json"
    accounts.write_text(json.dumps({"accounts": {"ann": 5, "bob": 0}}))
    program = "import sys; from qwq_env.cli import main; sys.exit(main())"
    words = ["serve", "mcp", "bank:Bank", "calculator", "--metadata", str(accounts)]
    environment = {"PYTHONPATH": f"{EXAMPLES.parent}:{EXAMPLES}"}
    parameters = StdioServerParameters(
        command=sys.executable, args=["-c", program, *words], env=environment
    )
    async with mcp.Client(stdio_client(parameters)) as client:
        listed = [each.name for each in (await client.list_tools()).tools]
        await client.call_tool("transfer", {"source": "ann", "target": "bob", "amount": 3})
        left = await client.call_tool("balance", {"owner": "ann"})

    assert listed == ["balance", "transfer", "calculator"]
    assert (text(left), left.is_error) == ("2", False)


async def test_a_tool_set_that_cannot_start_is_an_error_of_the_protocol():
    class Broken(ToolSet):
        def start(self, task) -> None:
            raise KeyError("accounts")

        def use(self) -> str:
            """Use it."""
            return ""

    async with mcp.Client(mcp_server([Broken])) as client:
        for _ in range(2):
            with pytest.raises(MCPError, match="tool set Broken: cannot start: KeyError"):
                await client.call_tool("use", {})


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_over_http_each_session_has_a_state_of_its_own(mode):
    async with served(Notes) as (url, server):
        async with mcp.Client(url, mode=mode) as one, mcp.Client(url, mode=mode) as two:
            said = [
                text(await client.call_tool("note", {"line": "a"})) for client in (one, one, two)
            ]
            held = len(server.table)
        left = len(server.table)

    assert (said, held, left) == (["1", "2", "1"], 2, 0)


async def test_over_http_a_protocol_without_sessions_serves_tools_without_state():
    async with served(Calculator()) as (url, _), mcp.Client(url, mode="2026-07-28") as client:
        assert text(await client.call_tool("calculator", {"expression": "1/3*3"})) == "1"


async def test_a_session_that_is_another_protocols_is_not_believed():
    async with served(Notes) as (url, server):
        async with mcp.Client(url, mode="2026-07-28") as client:
            with pytest.raises(MCPError, match="has no sessions; initialize one"):
                await client.call_tool("note", {"line": "a"})

        assert len(server.table) == 0


async def test_sessions_are_bounded_and_the_idle_end():
    bounded = served(Notes, sessions=2, idle_seconds=0.4)
    async with bounded as (url, server), contextlib.AsyncExitStack() as stack:
        for _ in range(2):
            client = await stack.enter_async_context(mcp.Client(url, mode="legacy"))
            await client.call_tool("note", {"line": "a"})
        with pytest.raises(Exception, match=r"unhandled|503"):  # the SDK's group, or its error
            await stack.enter_async_context(mcp.Client(url, mode="legacy"))
        while len(server.table):
            await asyncio.sleep(0.02)
        with pytest.raises(MCPError):  # the state is gone, and a new one would pass for it
            await client.call_tool("note", {"line": "a"})


async def test_our_own_client_reads_what_our_server_serves():
    async with served(Notes, fails) as (url, _):
        remote = McpServer(url)
        tools = {each.name: each for each in await asyncio.to_thread(remote.tools)}
        said = await tools["note"].call({"line": "a"})
        with pytest.raises(ToolError, match="no such town"):
            await tools["fails"].call({"how": "tool"})
        await asyncio.to_thread(remote.close)

    assert said.content == "1"


async def test_a_server_with_a_key_answers_nobody_without_it():
    async with served(Calculator(), key="k" * 16) as (url, _):
        for headers, status in (({}, 401), ({"authorization": "Bearer " + "k" * 15}, 401)):
            async with httpx2.AsyncClient(headers=headers) as stranger:
                assert (await stranger.post(url, json={})).status_code == status
        known = httpx2.AsyncClient(headers={"authorization": "Bearer " + "k" * 16})
        async with known, mcp.Client(streamable_http_client(url, http_client=known)) as client:
            assert (await client.list_tools()).tools


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"origin": "https://evil.example"}, "{}", 403),
        ({"host": "evil.example"}, "{}", 403),
        ({}, "[" * (5 << 20), 413),
        ({"mcp-session-id": "another's"}, "{}", 404),
        ({}, "{", 400),
        ({}, "[" * 100_000, 400),
    ],
)
async def test_strangers_and_what_is_no_request_are_refused(headers, body, status):
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        **headers,
    }
    async with served(Notes) as (url, server), httpx2.AsyncClient(headers=headers) as stranger:
        assert (await stranger.post(url, content=body)).status_code == status
        assert len(server.table) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["calculater"], "tool: 'calculater' is not known (did you mean 'calculator'?)"),
        (["nothing_there:Bank"], "No module named 'nothing_there'; expected one that"),
        (["qwq_env:Nothing"], "qwq_env has no 'Nothing'"),
        (["calculator", "--http", "x"], "--http: x; expected a port"),
        (["calculator", "--http", "0.0.0.0:1"], "host: '0.0.0.0' is not a loopback address"),
        (["calculator", "--http", "1", "--key-variable", "NOT_SET"], "NOT_SET holds 0"),
        (["calculator", "--http", "1", "--sessions", "0"], "sessions: 0; expected a whole"),
    ],
)
def test_bad_input_is_one_line(arguments, words, capsys):
    assert main(["serve", "mcp", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_a_name_that_the_protocol_does_not_know_is_refused():
    named = tool(name="two words")(long.function)
    with pytest.raises(UsageError, match="tool name: 'two words'; expected 1 to 128 letters"):
        mcp_server([named])


async def test_what_the_documentation_shows_runs(capsys):
    await run_snippet(mcp_server_module, {}, "asyncio.run(main())", "await main()")

    assert capsys.readouterr().out == "42\n"
