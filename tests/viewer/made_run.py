"""A small run as `qwq train` leaves it, some of it as hostile as what a model may write."""

from __future__ import annotations

import json
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from qwq_env.outcome import Outcome
from qwq_env.rollout.store import EpisodeStore
from qwq_env.segments import Block, Segment
from qwq_env.trajectory import PhaseSeconds, Span, Trajectory

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
_made = runpy.run_path(str(BENCHMARKS / "_viewer_episodes.py"))
Tokens, episodes = _made["Tokens"], _made["episodes"]

HOSTILE = (
    "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'>"
    "<!-- <b>bold</b> &amp; \u202egnp.exe\u2066 \x1b[31m\x00 zero\u200bwidth"
    " \u05e9\u05dc\u05d5\u05dd"
    " Z\u0351\u0352\u0353 \U0001f600 \U000e0041 javascript:alert(1) ${window.hit = 3}"
)


def run_folder(path: Path, *, number: int = 24, tokens: int = 120) -> Path:
    """Write `number` episodes of training, in groups of 8, and metrics; return the folder."""
    path.mkdir()
    recipe = "name: made\nenvironment:\n  id: qwq/MathTool-v0\ngrpo:\n  group: 8\n"
    (path / "recipe.yaml").write_text(recipe)
    rows = [
        {"step": n, "reward": n / 10, "loss": -n, "episode/lost": float("nan")} for n in range(5)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    vocabulary = Tokens()
    with EpisodeStore(path / "episodes.jsonl", vocabulary) as store:
        for trajectory, step in episodes(number, tokens, vocabulary):
            store.append(trajectory, phase="grpo", step=step)
    return path


def spoken(text: str, *, name: str = "e", vocabulary: Any = None, **more: Any) -> Trajectory:
    """Return an episode in which `text` is said by everybody."""
    blocks = [
        Block("task", (Segment("task", text),)),
        Block("model", (Segment("thinking", text), Segment("call", text, "f", {text: text}))),
        Block("tool", (Segment("result", text, text, None, text, "tool_error", 0.5),)),
        Block("user", (Segment("user", text),)),
        Block("model", (Segment("answer", text),)),
    ]
    ids: list[int] = []
    spans: list[Span] = []
    if vocabulary is not None:
        for block in blocks:
            written = vocabulary.encode(block.text)
            spans.append(Span(len(ids), len(ids) + len(written), block.by))
            ids += written
    prompt = spans[0].end if spans else 0
    given: dict[str, Any] = {
        "task_id": "t", "episode": name, "seed": 2**60, "ids": ids, "prompt_length": prompt,
        "mask": [1] * (len(ids) - prompt), "logprobs": [-0.5] * (len(ids) - prompt),
        "spans": spans, "outcome": Outcome.answered(text), "reward": 1.0, "answer": text,
        "reference": {"a": text}, "scores": {text: 0.5}, "reasons": {text: [text, text, text]},
        "counts": {"ok": 1, text: 1}, "turns": 2, "tool_calls": 1,
        "seconds": PhaseSeconds(1.0, 0.5, 0.1, 0.2, 0.1), "transcript": blocks,
    }  # fmt: skip
    return Trajectory(**(given | more))


def write(path: Path, trajectories: Sequence[Trajectory], vocabulary: Any = None) -> Path:
    """Write a file of episodes; return it."""
    with EpisodeStore(path, vocabulary) as store:
        for trajectory in trajectories:
            store.append(trajectory)
    return path
