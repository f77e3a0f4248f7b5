"""`qwq view`: what it writes, and what it says of input that is none."""

from __future__ import annotations

import base64
import json
import re
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from qwq_env.cli import main
from qwq_env.outcome import Outcome
from qwq_env.rollout.store import EpisodeStore, read_episodes
from qwq_env.viewer.blocks import to_json

from .made_run import HOSTILE, Tokens, run_folder, spoken, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return run_folder(tmp_path_factory.mktemp("view") / "made")


def blocks(page: Path) -> dict[str, bytes]:
    """Read the data of a page as the browser does."""
    found = re.findall(
        r'<script type="text/plain" id="([\w-]+)">([^<]*)</script>', page.read_text()
    )
    return {name: zlib.decompress(base64.b64decode(text)) for name, text in found}


def heads(chunk: bytes) -> list[dict]:
    size = int.from_bytes(chunk[:4], "little")
    return json.loads(chunk[4 : 4 + size])


def view(*arguments) -> int:
    return main(["view", *map(str, arguments)])


def test_a_run_becomes_one_file_that_asks_for_nothing(folder, capsys):
    code = view(folder)

    page = (folder / "view.html").read_text()
    assert code == 0
    assert capsys.readouterr().out.startswith(f"{folder / 'view.html'}: 24 episodes, ")
    assert "default-src 'none'; script-src 'sha256-" in page
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page.split("<script>")[0])


def test_the_table_says_of_each_episode_what_the_row_says(folder):
    view(folder)
    table = json.loads(blocks(folder / "view.html")["table"])

    rows = list(read_episodes(folder / "episodes.jsonl"))
    assert table["episode"] == [row.episode for row in rows]
    assert table["reward"] == [row.reward for row in rows]
    assert [table["task"]["values"][code] for code in table["task"]["codes"]] == [
        row.task_id for row in rows
    ]
    assert table["group"] == [n // 8 for n in range(24)]
    paid = [a for a, row in zip(table["advantage"], rows, strict=True) if row.reward is not None]
    assert sum(paid) == pytest.approx(0, abs=1e-4)
    assert any(paid)


def test_a_curve_has_the_steps_that_say_it(tmp_path):
    """The reward of a batch is told of in the first of the steps that learn from it."""
    run = run_folder(tmp_path / "made")
    rows = [{"step": n, "loss": n, **({} if n % 2 == 0 else {"reward": n / 4})} for n in (1, 2, 3)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    view(run)

    assert json.loads(blocks(run / "view.html")["report"])["curves"] == [
        {"name": "loss", "steps": [1, 2, 3], "values": [1, 2, 3]},
        {"name": "reward", "steps": [1, 3], "values": [0.25, 0.75]},
    ]


def test_tokens_and_text_come_back_from_the_page(folder):
    view(folder)
    data = blocks(folder / "view.html")
    rows = list(read_episodes(folder / "episodes.jsonl"))

    vocabulary, head = json.loads(data["vocabulary"]), heads(data["chunk-0"])
    at = 4 + int.from_bytes(data["chunk-0"][:4], "little")
    for row, said in zip(rows, head, strict=True):
        [kept] = said["rows"]
        places = _varints(data["chunk-0"][at : at + kept["bytes"]])
        at += kept["bytes"]
        ids = [vocabulary["ids"][place] for place in places]
        text = "".join(block.text for block in row.transcript)
        assert ids == row.ids
        assert said["joined"]
        assert sum(size for _, segments in said["said"] for _, size, *_ in segments) == len(text)


def _varints(data: bytes) -> list[int]:
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            numbers.append(value)
            value = shift = 0
    return numbers


@pytest.mark.parametrize(
    "line",
    [
        b'{"torn": ', b"[1, 2]", b'{"schema": 99}', b'{"schema": 2}', b"null", b"\xff\xfe",
        b'{"schema": 2, "task_id": "t", "episode": "e", "seed": 0, "outcome": {"kind": "failed",'
        b' "reason": "x"}, "prompt_length": 1, "ids": [-1, 2], "mask": [1], "logprobs": [0.0],'
        b' "spans": [], "seconds": {}}',
        b'{"schema": 2, "task_id": "t", "episode": "e", "seed": 0, "outcome": {"kind": "failed",'
        b' "reason": "x"}, "prompt_length": 1, "ids": [1, 2], "mask": [1, 1, 1], "logprobs": [0.0],'
        b' "spans": [], "seconds": {}}',
    ],
)  # fmt: skip
def test_a_damaged_row_is_named_and_passed_over(tmp_path, capsys, line):
    path = write(tmp_path / "e.jsonl", [spoken("one", name="1"), spoken("two", name="2")])
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + line + b"\n" + second)
    code = view(path, "--out", tmp_path / "page.html")

    told = capsys.readouterr()
    assert code == 0
    assert "2 episodes" in told.out
    assert f"{path}:2: " in told.err
    assert len(told.err.splitlines()) == 1


def test_a_run_that_is_going_on_is_viewed_as_far_as_it_went(folder, tmp_path, capsys):
    path = tmp_path / "episodes.jsonl"
    path.write_bytes((folder / "episodes.jsonl").read_bytes()[:-40])

    assert view(path) == 0
    assert "23 episodes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (None, "expected"),
        ({}, "is empty"),
        ({"notes.txt": "", "a.json": "{}"}, "a.json, notes.txt"),
        ({"recipe.yaml": "name: x\n"}, "recipe.yaml"),
        ({"episodes.jsonl": ""}, "no episodes yet"),
        ({"episodes.jsonl": "no JSON\n"}, "episodes.jsonl:1"),
        ({"episodes.jsonl": '{"prompt": "a task, not an episode"}\n'}, "not an episode"),
    ],
)
def test_what_is_no_run_is_said_in_one_line(tmp_path, capsys, files, said):
    folder = tmp_path / "folder"
    if files is not None:
        folder.mkdir()
        for name, text in files.items():
            (folder / name).write_text(text)
    code = view(folder)

    error = capsys.readouterr().err
    assert code == 2
    assert said in error
    assert len(error.splitlines()) == 1
    assert not (folder / "view.html").exists()


def test_bad_options_are_named(folder, tmp_path, capsys):
    assert view(folder, "--limit", "0") == 2
    assert view(folder, "--out", tmp_path / "missing" / "page.html") == 2
    assert view(folder, "--out", tmp_path) == 2
    assert [line[:18] for line in capsys.readouterr().err.splitlines()] == [
        "qwq: error: limit:", "qwq: error: out: /", "qwq: error: out: /",
    ]  # fmt: skip


def test_the_last_episodes_of_a_run_and_several_runs_in_one_page(folder, tmp_path, capsys):
    other = write(tmp_path / "other.jsonl", [spoken("elsewhere")])
    out = tmp_path / "page.html"

    assert view(folder, "--limit", "5", "--out", out) == 0
    assert view(folder, other, "--out", out) == 0
    assert re.findall(r"(\d+) episodes", capsys.readouterr().out) == ["5", "25"]
    assert "made and 1 more" in out.read_text()


def test_runs_of_other_tokenizers_keep_their_words(tmp_path):
    files, pieces = [], []
    for number, text in enumerate(("one two", "three four")):
        vocabulary = Tokens()
        made = spoken(text, name=text, vocabulary=vocabulary)
        files.append(write(tmp_path / f"{number}.jsonl", [made], vocabulary))
        pieces += vocabulary.ids
    assert view(*files, "--out", tmp_path / "page.html") == 0

    data = blocks(tmp_path / "page.html")
    vocabulary = json.loads(data["vocabulary"])
    assert sorted(vocabulary["texts"]) == sorted(pieces)
    assert sorted(vocabulary["ids"])[:4] == [0, 0, 1, 1]
    assert [head["joined"] for head in heads(data["chunk-0"])] == [True, True]


def test_tokens_of_which_nothing_is_known_stand_as_their_ids(tmp_path):
    known = write(tmp_path / "known.jsonl", [spoken("a b", vocabulary=(v := Tokens()))], v)
    silent = write(tmp_path / "silent.jsonl", [spoken("a b", vocabulary=Tokens())])
    view(known, silent, "--out", tmp_path / "page.html")

    data = blocks(tmp_path / "page.html")
    expected = [*v.ids, *(f"‹{number}›" for number in v.ids.values())]
    assert sorted(json.loads(data["vocabulary"])["texts"]) == sorted(expected)
    assert [head["joined"] for head in heads(data["chunk-0"])] == [True, False]


def test_a_folder_of_runs_is_viewed_whole(folder, capsys):
    assert view(folder.parent, "--out", folder.parent / "all.html") == 0
    assert "24 episodes" in capsys.readouterr().out


def test_names_that_stand_twice_lead_to_one_episode_each(tmp_path):
    path = tmp_path / "episodes.jsonl"
    with EpisodeStore(path) as store:
        for phase in ("cold", "trained"):
            store.append(spoken("x", name="evaluation.0"), phase=phase)
    view(path)

    table = json.loads(blocks(path.with_suffix(".html"))["table"])
    assert table["episode"] == ["cold:evaluation.0", "trained:evaluation.0"]


def test_rows_without_text_are_told_of(tmp_path, capsys):
    silent = replace(
        spoken("x"), transcript=[], ids=[1, 2], prompt_length=1, mask=[1], logprobs=[-1.0]
    )
    code = view(write(tmp_path / "e.jsonl", [silent]))

    assert code == 0
    assert "stored without their text" in capsys.readouterr().err


def test_hostile_text_stands_in_no_markup(tmp_path):
    vocabulary = Tokens()
    spoken_ = [spoken(HOSTILE, name=HOSTILE, vocabulary=vocabulary), spoken(HOSTILE + "\ud800")]
    lost = replace(spoken("x", name="l"), reward=None, outcome=Outcome.lost("x", HOSTILE))
    folder = tmp_path / "</script><b>"
    folder.mkdir(parents=True)
    page = folder / "view.html"
    assert view(write(folder / "e.jsonl", [*spoken_, lost], vocabulary), "--out", page) == 0

    text = page.read_text()
    assert "window.hit" not in text
    assert text.count("<b>") == 0
    assert [head["joined"] for head in heads(blocks(page)["chunk-0"])] == [True, False, False]


def test_what_json_has_not_is_written_as_a_text():
    value = {"a": [float("nan"), 1.0], "b": ("\ud800", float("inf"))}

    assert json.loads(to_json(value)) == {"a": ["nan", 1.0], "b": ["\ud800", "inf"]}


@pytest.mark.parametrize(("values", "within"), [("ratios", 0.02), ("entropies", 0.03)])
def test_what_else_a_writer_stores_of_the_tokens_is_shown(tmp_path, values, within):
    vocabulary = Tokens()
    one = spoken("a b c", vocabulary=vocabulary)
    given = [1.0, 0.5, 2.0] + [1.01] * (sum(one.mask) - 3)
    path = tmp_path / "e.jsonl"
    with EpisodeStore(path, vocabulary) as store:
        store.append(one, **{values: given})
    view(path)

    data = blocks(path.with_suffix(".html"))["chunk-0"]
    codes = data[-len(given) :]
    assert heads(data)[0]["rows"][0]["columns"] == [
        "logprob",
        {"ratios": "ratio"}.get(values, "entropy"),
    ]
    if values == "ratios":
        assert codes[0] == 127
        assert codes[1] + codes[2] == 2 * 127
    else:
        read = [1e-4 * (4e5 ** ((code - 1) / 253)) for code in codes]
        assert read == pytest.approx(given, rel=within)
