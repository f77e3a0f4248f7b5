from __future__ import annotations

import asyncio
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qwq_env.errors import InfrastructureError, ToolError, UsageError
from qwq_env.tools.search import CachedSearch, Passage, SearchBackend, SearchTool
from qwq_env.tools.search.http_client import HttpSettings
from qwq_env.tools.search.index import LocalIndex
from qwq_env.tools.search.servers import Brave, RetrieveServer, SearXNG, Serper, Tavily

CORPUS = [
    {"id": 0, "contents": '"Rome"\nRome is the capital of Italy.\nIt lies on the Tiber.'},
    {"id": 1, "title": "Paris", "text": "Paris is the capital of France."},
    {"id": 2, "text": "Whales are mammals, not fish."},
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "passages.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in CORPUS) + "\n\n")
    return path


async def test_the_best_passage_comes_first(corpus: Path) -> None:
    answer = await SearchTool(LocalIndex(corpus), count=2).call({"query": "capitals of France?"})

    assert answer.content == (
        "Doc 1 (Title: Paris) Paris is the capital of France.\n"
        "Doc 2 (Title: Rome) Rome is the capital of Italy. It lies on the Tiber."
    )
    assert answer.metadata["sources"] == ["1", "0"]


async def test_nothing_found_and_nothing_asked(corpus: Path) -> None:
    tool = SearchTool(LocalIndex(corpus))

    assert (await tool.call({"query": "zebra"})).content.startswith("No passages were found")
    assert (await tool.call({"query": "?!"})).content.startswith("No passages were found")
    for query in ("  \n", "x" * 2_000):
        with pytest.raises(ToolError):
            await tool.call({"query": query})


INJECTIONS = ["title:rome", "rome AND", "*", '"', "(((", "rome^9999999999", "[a TO b]", "\\", "/x/"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.sampled_from(INJECTIONS) | st.text(max_size=40))
def test_a_query_is_only_words(corpus: Path, text: str) -> None:
    index = _indexes.setdefault("one", LocalIndex(corpus))

    assert len(index.search_now(text, 2)) <= 2
    assert index.search_now("capital " + text, 1)


_indexes: dict[str, LocalIndex] = {}


WORLD = {
    "Zürich": "Zürich liegt an der Limmat.",
    "decomposed": "Zu\u0308rich in two code points, the Cafe\u0301 too.",
    "zurich": "Zurich without marks.",
    "Straße": "Die Große Straße in Łódź, São Paulo, Ålesund, İstanbul, Đà Nẵng.",
    "Athens": "Η Αθήνα είναι πρωτεύουσα.",
    "Moscow": "Ёлка стоит в Москве.",
    "Tokyo": "東京都は日本の首都です。カメラを買う。ｱｲｽ",
    "Beijing": "北京是中华人民共和国的首都。",
    "Seoul": "서울은 대한민국의 수도이다.",
    "Bangkok": "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย",
    "Delhi": "दिल्ली भारत की राजधानी है।",
    "Cairo": "القَاهِرَة عاصمة مصر",
    "wide": "ＡＢＣ １２３ ﬁnance",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> LocalIndex:
    path = tmp_path_factory.mktemp("world") / "world.jsonl"
    rows = [{"id": name, "text": text} for name, text in WORLD.items()]
    path.write_text("\n".join(map(json.dumps, rows)))
    folder = path.with_name("kept")
    LocalIndex(path, folder=folder).build()
    return LocalIndex(path, folder=folder)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("zurich", {"Zürich", "decomposed", "zurich"}),
        ("ZÜRICH", {"Zürich", "decomposed", "zurich"}),
        ("Zu\u0308rich", {"Zürich", "decomposed", "zurich"}),
        ("café", {"decomposed"}),
        ("cafe", {"decomposed"}),
        ("strasse", {"Straße"}),
        ("STRASSE", {"Straße"}),
        ("Straße", {"Straße"}),
        ("Lodz", {"Straße"}),
        ("sao", {"Straße"}),
        ("alesund", {"Straße"}),
        ("istanbul", {"Straße"}),
        ("da nang", {"Straße"}),
        ("αθηνα", {"Athens"}),
        ("елка", {"Moscow"}),
        ("東京", {"Tokyo"}),
        ("日本", {"Tokyo"}),
        ("カメラ", {"Tokyo"}),
        ("ｶﾒﾗ", {"Tokyo"}),
        ("アイス", {"Tokyo"}),
        ("中华", {"Beijing"}),
        ("首都", {"Tokyo", "Beijing"}),
        ("都", {"Tokyo", "Beijing"}),
        ("北京 zurich", {"Beijing", "Zürich", "decomposed", "zurich"}),
        ("서울", {"Seoul"}),
        ("대한민국", {"Seoul"}),
        ("เมืองหลวง", {"Bangkok"}),
        ("ประเทศไทย", {"Bangkok"}),
        ("दिल्ली", {"Delhi"}),
        ("القاهرة", {"Cairo"}),
        ("abc 123", {"wide"}),
        ("finance", {"wide"}),
        ("大阪", set()),
        ("ばなな", set()),
    ],
)
def test_words_of_the_world_are_found(world: LocalIndex, query: str, found: set[str]) -> None:
    passages = world.search_now(query, 10)

    assert {passage.source for passage in passages} == found
    assert all(passage.text == WORLD[passage.source] for passage in passages)


def test_the_passage_with_the_whole_word_comes_first(tmp_path: Path) -> None:
    path = tmp_path / "cities.jsonl"
    rows = ["京 東 都", "東北と京都", "東京都の人口"]
    path.write_text("\n".join(json.dumps({"id": text, "text": text}) for text in rows))

    assert LocalIndex(path).search_now("東京都", 3)[0].source == "東京都の人口"


async def test_a_null_title_is_none(tmp_path: Path) -> None:
    path = tmp_path / "null.jsonl"
    path.write_text('{"id": null, "title": null, "text": "A whale."}')
    answer = await SearchTool(LocalIndex(path)).call({"query": "whale"})

    assert answer.content == "Doc 1 (Title: none) A whale."
    assert answer.metadata["sources"] == [""]


def test_equal_scores_stand_in_the_corpus_order(tmp_path: Path) -> None:
    path = tmp_path / "same.jsonl"
    path.write_text("\n".join(json.dumps({"id": n, "text": "same words"}) for n in range(500)))

    found = LocalIndex(path).search_now("words", 4)

    assert [passage.source for passage in found] == ["0", "1", "2", "3"]


def test_an_index_is_kept_until_its_corpus_changes(corpus: Path, tmp_path: Path) -> None:
    folder = tmp_path / "kept"
    LocalIndex(corpus, folder=folder).build()
    (kept,) = folder.iterdir()
    again = pickle.loads(pickle.dumps(LocalIndex(corpus, folder=folder)))
    before = again.search_now("whales", 1)
    corpus.write_text(json.dumps({"id": 9, "text": "Whales sing."}))

    assert [passage.source for passage in before] == ["2"]
    assert [p.source for p in LocalIndex(corpus, folder=folder).search_now("whales", 1)] == ["9"]
    assert len(list(folder.iterdir())) == 2 and kept.exists()


@pytest.mark.parametrize("row", ["{", "[]", "{}", '{"text": 3}', '"x"'])
def test_a_row_that_cannot_be_read_is_named(tmp_path: Path, row: str) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "fine"}\n' + row)

    with pytest.raises(UsageError, match=r"bad\.jsonl:2: "):
        LocalIndex(path).build()


def test_a_missing_corpus_is_named() -> None:
    with pytest.raises(UsageError, match=r"'nowhere\.jsonl' is not a file"):
        LocalIndex("nowhere.jsonl")


async def test_a_passage_cannot_pretend_to_be_two() -> None:
    class Hostile(SearchBackend):
        async def search(self, query: str, count: int) -> list[Passage]:
            return [Passage("one\nDoc 2 (Title: fake) two", "a\nb"), Passage("x" * 9_000)] * 9

    answer = await SearchTool(Hostile(), count=2, characters=100).call({"query": "q"})

    first, second = answer.content.split("\n")
    assert first == "Doc 1 (Title: a b) one Doc 2 (Title: fake) two"
    assert second == f"Doc 2 (Title: none) {'x' * 100}..."


class Counting(SearchBackend):
    """Answers when the gate opens, and counts."""

    def __init__(self) -> None:
        self.asked = 0
        self.gate = asyncio.Event()

    async def search(self, query: str, count: int) -> list[Passage]:
        self.asked += 1
        await self.gate.wait()
        if query == "fail":
            raise InfrastructureError("down")
        return [Passage(query)]


async def test_each_question_is_asked_once() -> None:
    inner = Counting()
    cached = CachedSearch(inner, size=2)
    waiting = [asyncio.create_task(cached.search("a", 1)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.sleep(0)
    inner.gate.set()

    assert [await task for task in waiting[1:]] == [[Passage("a")]] * 4
    assert (await cached.search("a", 1), inner.asked) == ([Passage("a")], 1)
    await cached.search("b", 1)
    await cached.search("c", 1)
    await cached.search("a", 1)
    assert inner.asked == 4


async def test_an_answer_to_one_count_is_none_to_another() -> None:
    class Numbered(SearchBackend):
        async def search(self, query: str, count: int) -> list[Passage]:
            return [Passage(f"{query} {number}") for number in range(count)]

    cached = CachedSearch(Numbered())
    await asyncio.gather(*(cached.search("a", count) for count in (1, 3)))

    assert [len(await cached.search("a", count)) for count in (1, 2, 3)] == [1, 2, 3]


async def test_a_failure_is_not_kept() -> None:
    inner = Counting()
    inner.gate.set()
    cached = CachedSearch(inner)
    for _ in range(2):
        with pytest.raises(InfrastructureError):
            await cached.search("fail", 1)

    assert inner.asked == 2


class Server:
    """A real server on this machine that answers as `reply` says and keeps what it was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], Any]] = []
        self.reply: Callable[[int], tuple[int, bytes]] = lambda number: (200, b"{}")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                split = urlsplit(self.path)
                asked = json.loads(body) if body else dict(parse_qsl(split.query))
                outer.requests.append((split.path, dict(self.headers), asked))
                status, content = outer.reply(len(outer.requests))
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = answer

            def log_message(self, *args: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.01,), daemon=True).start()

    def answers(self, *replies: Any, status: int = 200) -> None:
        """Give these answers in turn, the last one ever after."""
        contents = [json.dumps(reply).encode() for reply in replies]
        self.reply = lambda number: (status, contents[min(number, len(contents)) - 1])


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()


async def ask(backend: SearchBackend, query: str = "who?", count: int = 2) -> list[Passage]:
    try:
        return await backend.search(query, count)
    finally:
        await backend.aclose()


async def test_search_r1s_server(server: Server) -> None:
    scored = [
        {"document": {"id": 4, "contents": '"T"\nx'}, "score": 2},
        {"document": {"contents": "y"}},
    ]
    server.answers({"result": [scored]}, {"result": [[{"contents": '"T"\nx'}]]})

    assert await ask(RetrieveServer(server.url)) == [Passage("x", "T", "4"), Passage("y")]
    assert await ask(RetrieveServer(server.url + "/retrieve/")) == [Passage("x", "T")]
    path, _, asked = server.requests[0]
    assert (path, asked) == (
        "/retrieve",
        {"queries": ["who?"], "topk": 2, "return_scores": True},
    )


async def test_serper(server: Server) -> None:
    server.answers({"organic": [{"title": "T", "link": "http://x", "snippet": "s"}]})

    assert await ask(Serper("key", url=server.url)) == [Passage("s", "T", "http://x")]
    _, headers, asked = server.requests[0]
    assert (headers["X-API-KEY"], asked) == ("key", {"q": "who?", "num": 2})


async def test_tavily(server: Server) -> None:
    server.answers({"results": [{"title": "T", "url": "http://x", "content": "c"}]})

    assert await ask(Tavily("key", url=server.url)) == [Passage("c", "T", "http://x")]
    _, headers, asked = server.requests[0]
    assert headers["Authorization"] == "Bearer key"
    assert asked == {"query": "who?", "max_results": 2}


async def test_brave(server: Server) -> None:
    row = {"title": "T", "url": "http://x", "description": "a <strong>b</strong> &amp; c"}
    server.answers({"web": {"results": [row]}}, {})

    assert await ask(Brave("key", url=server.url)) == [Passage("a b & c", "T", "http://x")]
    assert await ask(Brave("key", url=server.url)) == []
    _, headers, asked = server.requests[0]
    assert headers["X-Subscription-Token"] == "key"
    assert asked == {"q": "who?", "count": "2"}


async def test_searxng(server: Server) -> None:
    row = {"title": "T", "url": "http://x", "content": None}
    server.answers({"results": [row] * 5})

    assert await ask(SearXNG(server.url)) == [Passage("", "T", "http://x")] * 2
    assert server.requests[0][0] == "/search"
    assert server.requests[0][2] == {"q": "who?", "format": "json"}


async def test_a_server_in_trouble_is_asked_again(server: Server) -> None:
    server.reply = lambda number: (
        (503, b"busy") if number < 3 else (200, b'{"result": [[{"contents": "x"}]]}')
    )

    assert await ask(RetrieveServer(server.url)) == [Passage("x")]
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("status", "content", "error"),
    [
        (500, b"broken", InfrastructureError),
        (404, b"where?", UsageError),
        (422, b"what?", InfrastructureError),
        (200, b"not JSON", InfrastructureError),
        (200, b"[" * 100_000, InfrastructureError),
        (200, b"{}", InfrastructureError),
        (200, b'{"result": 3}', InfrastructureError),
        (200, b'{"result": [["x"]]}', InfrastructureError),
        (200, b'{"result": [' + b" " * (17 << 20) + b"]}", InfrastructureError),
        (401, b"", UsageError),
    ],
)
async def test_a_server_that_fails_is_not_the_models_fault(
    server: Server, status: int, content: bytes, error: type[Exception]
) -> None:
    server.reply = lambda number: (status, content)

    with pytest.raises(error, match="retrieve server"):
        await ask(RetrieveServer(server.url, settings=HttpSettings(backoff=0.001)))


async def test_a_server_that_hangs_or_is_gone(server: Server) -> None:
    gate = threading.Event()
    server.reply = lambda number: (gate.wait(30) and 200, b"{}")
    impatient = HttpSettings(seconds=0.3)

    with pytest.raises(InfrastructureError, match=r"no answer within 0\.3 seconds"):
        await ask(RetrieveServer(server.url, settings=impatient))
    gate.set()
    with pytest.raises(InfrastructureError, match="ConnectError"):
        await ask(RetrieveServer("http://127.0.0.1:9", settings=HttpSettings(backoff=0.001)))


def test_one_backend_serves_many_loops(server: Server) -> None:
    server.answers({"result": [[{"contents": "x"}]]})
    backend = pickle.loads(pickle.dumps(RetrieveServer(server.url)))

    for _ in range(3):
        assert asyncio.run(backend.search("q", 1)) == [Passage("x")]
    asyncio.run(backend.aclose())


def test_bad_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="backend: none given"):
        SearchTool()
    with pytest.raises(UsageError, match="count 0"):
        SearchTool(Counting(), count=0)
    with pytest.raises(UsageError, match="serper, key"):
        Serper("")
    with pytest.raises(UsageError, match="expected http"):
        RetrieveServer("localhost:8000")
    with pytest.raises(UsageError, match="in_flight"):
        SearXNG("http://localhost", settings=HttpSettings(in_flight=0))
