"""The page in a real browser: one Chromium for all tests, which hold its console to silence."""

from __future__ import annotations

import json
import runpy
from dataclasses import replace
from urllib.parse import quote

import pytest

from qwq_env.cli import main
from qwq_env.rollout.store import read_episodes
from qwq_env.segments import Block, Segment
from qwq_env.trajectory import Span

from .made_run import BENCHMARKS, HOSTILE, Tokens, run_folder, spoken, write

_chromium = runpy.run_path(str(BENCHMARKS / "_chromium.py"))
PROGRAM = _chromium["find_chromium"]()
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no chromium is installed")


@pytest.fixture(scope="module")
def browser():
    with _chromium["Chromium"](PROGRAM) as browser:
        yield browser


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = run_folder(tmp_path_factory.mktemp("browser") / "made")
    assert main(["view", str(folder)]) == 0
    return folder


@pytest.fixture(autouse=True)
def silent(browser):
    """No error and no warning on the console, and nothing asked of anybody."""
    browser.look()
    yield
    assert browser.problems == []
    assert all(url.startswith("file://") for url in browser.requests)


def opened(browser, folder, place="#/", *, anew=False):
    """Lead the page of `folder` to a place: by its own links, or opened anew."""
    page = (folder / "view.html").resolve().as_uri()
    if not anew and browser.value("location.href.split('#')[0]") == page:
        browser.value(f"location.hash = {json.dumps(place)}")
        browser.until(f"location.hash === {json.dumps(place)}")
        browser.value("new Promise((done) => setTimeout(done))")
    else:
        browser.open(folder / "view.html", place)


def rows(browser) -> int:
    return browser.value("document.querySelectorAll('.list a.row').length")


def test_the_table_is_there_and_sorts(browser, folder):
    opened(browser, folder)
    assert browser.text(".count") == "24 episodes"
    browser.value("[...document.querySelectorAll('.head button')].at(-1).click()")

    browser.until("location.hash.includes('sort=-seconds')")
    first = browser.text(".list a.row .num:last-child")
    longest = max(
        sum(e.seconds) - e.seconds.waiting for e in read_episodes(folder / "episodes.jsonl")
    )
    assert first == f"{longest:.3g} s"


def test_a_search_finds_what_was_said_and_its_link_leads_back(browser, folder):
    wanted = [*read_episodes(folder / "episodes.jsonl")][9].answer.upper()
    opened(browser, folder)
    browser.key("/")
    browser.until("document.activeElement.matches('.search')")
    browser.write(wanted)
    browser.until("document.querySelector('.count').textContent.startsWith('1 of 24 episodes')")
    link = browser.value("location.hash")

    opened(browser, folder, link, anew=True)
    browser.until("document.querySelector('.count').textContent.startsWith('1 of 24 episodes')")
    browser.key("Enter")
    browser.until("document.querySelector('mark') !== null")
    assert browser.text("mark").upper() == wanted


@pytest.mark.parametrize(
    ("filters", "left"),
    [
        ("reward=1", lambda e: e.reward == 1),
        ("reward=%3C1", lambda e: e.reward is not None and e.reward < 1),
        ("reward=none", lambda e: e.reward is None),
        ("task=manual%2F1", lambda e: e.task_id == "manual/1"),
        ("step=1", lambda e: True),
        ("step=2-9", lambda e: False),
        ("outcome=tokens", lambda e: e.outcome.reason == "tokens"),
        ("reward=%5B", lambda e: False),
    ],
)
def test_filters_leave_what_they_say(browser, folder, filters, left):
    opened(browser, folder, f"#/episodes?{filters}")

    expected = sum(map(left, read_episodes(folder / "episodes.jsonl")))
    assert browser.text(".count") == f"{expected} of 24 episodes clear"
    assert rows(browser) == expected


def test_keys_lead_through_the_page(browser, folder):
    opened(browser, folder, anew=True)
    browser.key("j")
    browser.key("j")
    browser.key("k")
    browser.key("Enter")
    browser.until("location.hash === '#/episode/1-0.0.1' && document.querySelector('.part')")
    browser.key("j")
    browser.until("location.hash === '#/episode/1-0.0.2'")
    browser.key("2")
    browser.until("document.querySelector('.flow span')")
    browser.key("3")
    browser.until("document.querySelector('.lane i')")
    browser.key("g")
    browser.until("document.querySelectorAll('article').length === 8")
    browser.key("?")
    browser.until("document.querySelector('dialog[open] kbd')")
    browser.key("Escape")
    browser.until("document.querySelector('dialog') === null")
    browser.key("Escape")
    browser.until("document.querySelector('.list a.here')")
    before = browser.value("getComputedStyle(document.body.parentElement).backgroundColor")
    browser.key("t")
    assert browser.value("getComputedStyle(document.body.parentElement).backgroundColor") != before


def test_an_episode_shows_each_speaker_and_why_it_was_paid(browser, folder):
    episode = next(e for e in read_episodes(folder / "episodes.jsonl") if e.tool_calls)
    opened(browser, folder, f"#/episode/{episode.episode}")
    browser.until("document.querySelector('.part.answer')")

    segments = [s for block in episode.transcript for s in block.segments if s.kind != "markup"]
    kinds = browser.value(
        "[...document.querySelectorAll('.part.first')].map((p) => p.classList[1])"
    )
    assert kinds == [segment.kind for segment in segments]
    assert browser.text(".part.task .text") == segments[1].text
    assert browser.text(".part.call dd") == segments[3].arguments["code"]
    assert browser.text(".why blockquote") == episode.answer
    assert browser.text(".score b") == f"{episode.scores['accuracy']:.0f}"


def test_a_token_is_shown_as_the_trainer_has_it(browser, folder):
    episode = [*read_episodes(folder / "episodes.jsonl")][3]
    token = episode.prompt_length + episode.mask.index(0) if 0 in episode.mask else -1
    opened(
        browser, folder, f"#/episode/{episode.episode}?tab=tokens&at={episode.prompt_length + 4}"
    )
    browser.until("document.querySelector('.detail code')")
    told = browser.text(".detail")

    size = -episode.logprobs[4]
    assert f"id {episode.ids[episode.prompt_length + 4]}" in told
    assert "mask 1" in told
    shown = told.split("log-probability −")[1].split("probability")[0] if size > 1e-4 else "0"
    assert float(shown) == pytest.approx(size, rel=0.06, abs=1e-4)
    if token > 0:
        browser.value(f"document.querySelector('[data-t=\"{token}\"]').click()")
        browser.until("document.querySelector('.detail').textContent.includes('mask 0')")


def test_a_group_stands_side_by_side_with_its_advantages(browser, folder):
    opened(browser, folder, "#/group/1-0.0.8")
    browser.until("document.querySelectorAll('article .part.task').length >= 4")

    signs = browser.value(
        "[...document.querySelectorAll('article')].map((a) => a.querySelector('.pay').textContent"
        " + ' ' + (a.querySelector('.advantage span')?.textContent ?? ''))"
    )
    assert len(signs) == 8
    for sign in signs:
        reward, _, advantage = sign.partition(" ")
        assert (reward == "lost" and not advantage) or (float(advantage) > 0) == (reward == "1")


def test_curves_and_tools(browser, folder):
    opened(browser, folder, "#/curves")
    browser.until("document.querySelectorAll('figure').length === 2")
    assert "reward0.4step 4" in browser.text("figure figcaption")

    browser.value("location.hash = '#/tools'")
    browser.until("document.querySelector('.tools tbody tr')")
    calls = sum(e.tool_calls for e in read_episodes(folder / "episodes.jsonl"))
    assert browser.text(".tools tbody tr").startswith(f"python{calls}")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    vocabulary = Tokens()
    made = [
        spoken(HOSTILE, name=HOSTILE, vocabulary=vocabulary, task_id=HOSTILE, environment=HOSTILE),
        replace(spoken(HOSTILE, name="chat"), environment="b"),
    ]
    path = write(folder / "e.jsonl", made, vocabulary)
    assert main(["view", str(path), "--out", str(folder / "view.html")]) == 0
    return folder


@pytest.mark.parametrize("tab", ["", "tokens", "time"])
@pytest.mark.parametrize("name", [HOSTILE, "chat"])
def test_hostile_text_stays_text(browser, hostile, name, tab):
    opened(browser, hostile, f"#/episode/{quote(name, safe='')}?tab={tab}")
    browser.until("document.querySelector('.panes')")
    if not tab:
        browser.until("document.querySelectorAll('.part').length === 6")
        shown = browser.text(".part.answer .text")
        assert "</script><script>window.hit = 1</script>" in shown
        assert "U+202E" in shown
        assert "ESC" in shown
        assert "\u202e" not in browser.value("document.body.innerText")

    assert browser.value("window.hit === undefined")
    assert browser.value("document.querySelectorAll('#app img, #app script, #app b b').length") == 0
    for view in ("episodes", "tools", "curves", f"group/{quote(name, safe='')}"):
        browser.value(f"location.hash = {json.dumps('#/' + view)}")
        browser.until("document.querySelector('main, .page > .loading')")
    assert browser.value("window.hit === undefined")


@pytest.mark.parametrize(
    "place", ["#/episode/none", "#/group/%E0%A4%A", "#/<b>?q=%", "#?sort=x&step=<"]
)
def test_a_link_that_leads_nowhere_says_so(browser, folder, place):
    opened(browser, folder, place, anew=True)

    assert browser.value("document.querySelector('main, .page > .loading') !== null")


def test_a_long_episode_puts_little_into_the_document(browser, tmp_path):
    vocabulary = Tokens()
    text = "".join(f"{n} and so on, until\n" * 3 for n in range(3000)) + "x" * 40_000
    ids = vocabulary.encode(text)
    blocks = [Block("task", (Segment("task", "go"),)), Block("model", (Segment("answer", text),))]
    start = vocabulary.encode("go")
    long = spoken(
        "x", name="long", transcript=blocks, ids=start + ids, prompt_length=len(start),
        spans=[Span(0, len(start), "task"), Span(len(start), len(start + ids), "answer")],
        mask=[1] * len(ids), logprobs=[-1.0] * len(ids),
    )  # fmt: skip
    path = write(tmp_path / "e.jsonl", [long], vocabulary)
    main(["view", str(path), "--out", str(tmp_path / "view.html")])
    opened(browser, tmp_path, "#/episode/long")
    browser.until("document.querySelector('.part.answer')")
    assert browser.value("document.querySelectorAll('.part').length") < 10

    browser.key("2")
    browser.until("document.querySelector('.flow span')")
    assert len(ids) > 60_000
    assert browser.value("document.querySelectorAll('*').length") < 5000
    browser.value("(() => { const box = document.querySelector('.flow'); box.scrollTop = 1e9; })()")
    browser.until(f"document.querySelector('[data-t=\"{len(ids)}\"]') !== null")


@pytest.mark.parametrize(
    "place", ["", "#/episode/1-0.0.2", "#/episode/1-0.0.2?tab=tokens", "#/curves", "#/tools"]
)
def test_a_phone_scrolls_no_page_sideways(browser, folder, place):
    browser.look(width=360, height=740, phone=True)
    opened(browser, folder, place)
    browser.until("document.querySelector('a.row, .part, .flow span, figure, .tools li')")

    assert browser.value("document.documentElement.scrollWidth") <= 360
    wide = browser.value(
        "[...document.querySelectorAll('main, header, .crumbs, .toolbar, .part, .detail')]"
        ".filter((e) => e.getBoundingClientRect().right > 361).map((e) => e.className)"
    )
    assert wide == []
