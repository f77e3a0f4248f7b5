"""`report.html`: all of an evaluation on a page, and nothing on it that acts."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from qwq_env.cli import main
from qwq_env.evaluation.html_parts import page, text
from qwq_env.evaluation.telling import telling_episodes
from qwq_env.outcome import Outcome
from qwq_env.trajectory import Trajectory

HOSTILE = "</pre></style><script>alert(1)</script><img src=x onerror=alert(2)>\u202e\x1b[31m&amp;"


class Tags(HTMLParser):
    """What a browser would make of a page: its elements, and its words."""

    def __init__(self) -> None:
        super().__init__()
        self.elements, self.attributes, self.words = set(), set(), ""

    def handle_starttag(self, tag, attrs):
        self.elements.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.words += data


@pytest.fixture
def shown(tmp_path, capsys) -> Tags:
    data, answers = tmp_path / "aime24.jsonl", tmp_path / "answers.jsonl"
    rows = [{"prompt": f"{HOSTILE} Say {n}.", "answer": n, "id": f"{n}{HOSTILE}"} for n in (4, 73)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = [f"<think>{HOSTILE}</think>\\boxed{{4}}", f"{HOSTILE}\\boxed{{5}}", "", HOSTILE]
    answers.write_text(json.dumps({"prompt": rows[0]["prompt"], "gen": said}) + "\n")
    out = str(tmp_path / "out")
    command = ["eval", "aime24", "--data", str(data), "--answers", str(answers), "--out", out]
    assert main(command) == 0
    tags = Tags()
    tags.feed((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    return tags


def test_what_others_wrote_is_text(shown):
    assert not {"script", "img", "link", "iframe", "a"} & shown.elements
    assert not {name for name in shown.attributes if name.startswith("on")} | (
        {"src", "href"} & shown.attributes
    )
    assert "<script>alert(1)</script>" in shown.words
    assert "\u202e" not in shown.words and "\x1b" not in shown.words


@pytest.mark.parametrize(
    "words",
    ["25.0 %", "pass@4", "cons@4", "qwq_judge", "Right and wrong", "sampled tokens",
     "goes both ways: 1 of 4 samples are right", "no stored answer to this task", "lost: 4",
     "temperature", "sha256", "qwq-env", "empty: 1",
     "AIME 2024 I and II, preset qwq, but for samples 4; avg@64"],
)  # fmt: skip
def test_it_says_all_that_one_asks(shown, words):
    assert words.replace("lost: 4", "refused: 4") in shown.words


def trajectory(name: str, reward: float | None, outcome=None, **fields) -> Trajectory:
    failed = Outcome.lost("infrastructure", "gone")
    ended = outcome or (failed if reward is None else Outcome.answered())
    return Trajectory(
        name.partition(".")[0], name, 0, [], 0, [], [], [], ended, reward, **fields
    )  # fmt: skip


def test_the_most_telling_are_of_each_kind_and_the_same_each_time():
    episodes = [
        *(trajectory(f"both.{i}", float(i < 2), answer="a") for i in range(4)),
        trajectory("judged", 0.0, answer="a", scores={"other": 1.0}),
        trajectory("cut", 0.0, Outcome("truncated", "tokens")),
        trajectory("calls", 0.0, answer="a", counts={"ok": 1, "timeout": 2}),
        trajectory("silent", 0.0),
        trajectory("long", 0.0, answer="a", tokens={"policy": 99}),
        trajectory("short", 1.0, answer="a", tokens={"policy": 1}),
        trajectory("lost", None),
        trajectory("open", None, Outcome.lost("undecided", "no judge")),
        *(trajectory(f"plain{i}", 1.0, answer="a", tokens={"policy": 50}) for i in range(50)),
    ]
    found = telling_episodes(episodes)

    assert len(found) == 10 and found == telling_episodes(episodes[::-1])
    firsts = {each.trajectory.episode: each.why for each in found}
    assert firsts["both.2"] == "goes both ways: 2 of 4 samples are right"
    assert firsts["cut"] == "cut by a limit (tokens)"
    assert {"judged", "calls", "silent", "long", "lost", "open"} <= firsts.keys()
    assert firsts["open"] == "no judge could decide: no judge"


def test_of_a_long_text_the_middle_is_left_out():
    assert text("a" * 10_000, most=100).count("a") < 120
    assert "9,900 characters left out" in text("a" * 10_000, most=100)
    assert "default-src 'none'" in page("t", [])
