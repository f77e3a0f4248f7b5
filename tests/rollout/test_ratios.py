"""The trainer's ratios beside stored episodes: found by key, damaged ones named and passed over."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from qwq_env.outcome import Outcome
from qwq_env.rollout.ratios import RatioStore, ratios_beside
from qwq_env.rollout.store import EpisodeStore
from qwq_env.rollout.stored import StoredRun
from qwq_env.trajectory import Span, TrainingRow, Trajectory

FIRST, LAST = TrainingRow([1, 5, 6], 1, [1, 1], [-0.5, -1.0]), [1, 2, 3, 4]
EPISODE = Trajectory(
    "t", "1-0.0.0", 1, LAST, 1, [1, 0, 1], [-1.0, 0.0, -2.0], [Span(0, 4, "task")],
    Outcome.answered(), 1.0, earlier=[FIRST],
)  # fmt: skip
LOGS, ENTROPIES = [0.0, math.log(2)], [0.25, 1.5]


@pytest.fixture
def folder(tmp_path):
    """An episode of two rows, of the last of which the ratios are known."""
    with EpisodeStore(tmp_path / "episodes.jsonl") as store:
        store.append(EPISODE, phase="grpo", step=3)
    with RatioStore(tmp_path / "episodes.jsonl") as ratios:
        ratios.append(3, "1-0.0.0", 1, LOGS, ENTROPIES)
    return tmp_path


def test_they_are_found_by_step_name_and_row(folder):
    with EpisodeStore(folder / "episodes.jsonl") as store:
        store.append(replace(EPISODE, episode="1-0.0.1"), phase="grpo", step=3)
        store.append(EPISODE, phase="grpo", step=4)
        store.append(EPISODE, phase="trained")
    one, *others = StoredRun.open(folder).episodes()
    ratios, entropies = one.ratios()

    assert ratios == pytest.approx([1.0, 2.0], rel=1e-3)
    assert entropies == ENTROPIES
    assert one.ratios(1) == one.ratios(-1)
    assert [one.ratios(0), *(other.ratios() for other in others)] == [None] * 4
    assert [t.entropy for t in one.row_tokens()] == [None, 0.25, None, 1.5]


def test_of_a_row_that_was_written_twice_the_last_counts(folder):
    with RatioStore(folder / "episodes.jsonl") as ratios:
        ratios.append(3, "1-0.0.0", 1, LOGS, [9.0, 9.0])

    assert StoredRun.open(folder).episodes()[0].ratios().entropies == [9.0, 9.0]


BROKEN = {
    "not JSON": (b"rubbish", "not JSON"),
    "a newer version": (b'{"schema":2,"step":3}', "schema 2; expected 1"),
    "no key": (b'{"schema":1,"step":3,"row":1,"log_ratios":"","entropies":""}', "expected step"),
    "a damaged column": (
        b'{"schema":1,"step":3,"episode":"1-0.0.0","row":1,"log_ratios":"f2:AAAA","entropies":""}',
        "damaged column",
    ),
    "a list": (
        b'{"schema":1,"step":3,"episode":"1-0.0.0","row":1,"log_ratios":[[1],2]}', "a column",
    ),
    "no column": (b'{"schema":1,"step":3,"episode":"1-0.0.0","row":1}', "lacks 'log_ratios'"),
}  # fmt: skip


@pytest.mark.parametrize(("line", "reason"), BROKEN.values(), ids=BROKEN)
def test_a_damaged_line_is_named_and_passed_over(folder, line, reason):
    file = folder / "ratios.jsonl"
    file.write_bytes(file.read_bytes() + line + b"\n")
    run = StoredRun.open(folder)
    [episode] = run.episodes()
    found = episode.ratios()
    [damaged] = run.damaged

    assert (damaged.file, damaged.line) == (file, 2)
    assert reason in damaged.reason
    assert (found is None) == (b'"row":1' in line and b"1-0.0.0" in line)
    assert episode.ratios() == found and len(run.damaged) == 1  # it is told once
    assert next(token.ratio for token in episode.row_tokens()) is None


def test_columns_of_another_length_are_damaged(folder):
    with RatioStore(folder / "episodes.jsonl") as ratios:
        ratios.append(3, "1-0.0.0", 0, [0.0], [1.0])
    run = StoredRun.open(folder)

    assert run.episodes()[0].ratios(0) is None
    assert run.damaged[0].reason == "no ratios: 1 log_ratios for 2 sampled ids"


def test_no_number_is_no_damage(folder):
    """A sampler may not know a log-probability, and one may be far off."""
    with RatioStore(folder / "episodes.jsonl") as ratios:
        ratios.append(3, "1-0.0.0", 1, [math.nan, math.inf], [0.0, 1e9])
    run = StoredRun.open(folder)
    ratios, entropies = run.episodes()[0].ratios()

    assert math.isnan(ratios[0]) and math.isfinite(ratios[1])
    assert entropies == [0.0, 65504.0]
    assert run.damaged == []


def test_they_are_read_while_they_are_written_and_after_a_run_went_back(folder):
    file = folder / "ratios.jsonl"
    whole = file.read_bytes()
    [episode] = StoredRun.open(folder).episodes()
    file.write_bytes(whole[:-9])
    nothing = episode.ratios()
    file.write_bytes(whole)
    there = episode.ratios()
    part = folder / "part"
    part.write_bytes(whole.replace(b'"row":1', b'"row":0') + whole[:-1])
    part.replace(file)
    gone, other = episode.ratios(1), episode.ratios(0)
    with RatioStore(folder / "episodes.jsonl") as ratios:  # it cuts off what is torn
        ratios.append(3, "1-0.0.0", 1, LOGS, ENTROPIES)

    assert (nothing, gone) == (None, None)
    assert there is not None and other == there
    assert episode.ratios() == there
    assert [json.loads(line)["row"] for line in file.read_text().splitlines()] == [0, 1]


@pytest.mark.parametrize(
    ("episodes", "ratios"),
    [
        ("episodes.jsonl", "ratios.jsonl"),
        ("episodes-rank1.jsonl", "ratios-rank1.jsonl"),
        ("e.jsonl", "e.ratios.jsonl"),
    ],
)
def test_each_file_of_episodes_has_one_of_its_own(tmp_path, episodes, ratios):
    assert ratios_beside(tmp_path / episodes) == tmp_path / ratios
