"""Which servers are asked through a proxy of the environment."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.http.client import HttpClient
from qwq_env.http.proxies import proxy_for, route
from qwq_env.tools.search.http_client import HttpSettings
from qwq_env.tools.search.servers import RetrieveServer

from ..rollout.chat_server import ANSWER, Failure, Server, play

NOWHERE = "http://user:hush@127.0.0.1:9"
VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", NOWHERE)


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST", "localhost.", "a.localhost", "127.0.0.1", "127.8.9.10", "[::1]",
     "0.0.0.0", "[::ffff:127.0.0.1]"],
)  # fmt: skip
def test_loopback_is_never_behind_a_proxy(host, monkeypatch):
    monkeypatch.setenv("ALL_PROXY", NOWHERE)

    assert proxy_for(f"http://{host}:8000/v1") is None
    assert proxy_for(f"https://{host}/v1") is None


def test_httpx_takes_the_way_that_the_rule_gives():
    for url in ("http://127.1.2.3/v1", "http://gpu1:8000/v1"):
        client = httpx.AsyncClient(**route(url))
        pool = client._transport_for_url(httpx.URL(url))._pool

        assert ("Proxy" in type(pool).__name__) == (proxy_for(url) is not None)


@pytest.mark.parametrize(
    ("no_proxy", "host", "straight"),
    [
        ("gpu1", "gpu1", True),
        ("gpu1:8000", "gpu1", True),
        ("gpu1:9", "gpu1", False),
        ("corp.net", "gpu.corp.net", True),
        (".corp.net", "gpu.corp.net", True),
        ("*.corp.net", "gpu.corp.net", True),
        ("corp.net", "notcorp.net", False),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "11.1.2.3", False),
        ("fd00::/8", "[fd00::5]", True),
        ("a, 10.1.2.3 ,b", "10.1.2.3", True),
        ("*", "anything", True),
        ("", "gpu1", False),
    ],
)
def test_no_proxy(no_proxy, host, straight, monkeypatch):
    monkeypatch.setenv("NO_PROXY", no_proxy)

    assert (proxy_for(f"http://{host}:8000/v1") is None) is straight


@pytest.mark.parametrize("value", ["http://", "ftp://proxy:1", "http://[::1"])
def test_proxy_that_is_no_address(value, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", value)
    with pytest.raises(UsageError, match=r"^HTTP_PROXY: .*expected http"):
        proxy_for("http://gpu1/v1")


def test_proxy_without_a_scheme(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "proxy:3128")

    assert proxy_for("http://gpu1/v1").address == "http://proxy:3128"
    assert proxy_for("https://gpu1/v1") is None


def test_chat_search_and_the_rest_reach_a_server_on_this_machine():
    async def ask(url):
        retriever = RetrieveServer(url, settings=HttpSettings(seconds=5))
        client = HttpClient(attempts=1)
        try:
            return await client.post_json(url, {}), await retriever.search("x", 1)
        finally:
            await client.aclose()
            await retriever.aclose()

    found = Failure(200, {"result": [[]]})
    with Server([ANSWER, found, found]) as server:
        assert play(server, tries=1).reward == 1.0
        assert asyncio.run(ask(server.url)) == ({"result": [[]]}, [])


def test_proxy_that_fails_is_named_without_its_password():
    async def ask():
        client = HttpClient(attempts=1)
        try:
            await client.post_json("http://gpu1.invalid/v1", {})
        finally:
            await client.aclose()

    told = r"^http://gpu1.invalid/v1: Connect.*through the proxy http://127.0.0.1:9 of HTTP_PROXY"
    with pytest.raises(InfrastructureError, match=told) as caught:
        asyncio.run(ask())

    assert "hush" not in str(caught.value)


def test_proxy_in_front_of_a_search_server_is_named():
    async def ask():
        retriever = RetrieveServer("http://gpu1.invalid", settings=HttpSettings(seconds=0.2))
        try:
            await retriever.search("x", 1)
        finally:
            await retriever.aclose()

    with pytest.raises(InfrastructureError, match=r"through the proxy http://127\.0\.0\.1:9"):
        asyncio.run(ask())
