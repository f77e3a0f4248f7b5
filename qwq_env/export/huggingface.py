"""Episodes as a dataset of Hugging Face: Parquet files with a card, for `load_dataset(FOLDER)`.

A row has the conversation as `messages`, and the tokens it is trained on as `prompt_ids`,
`completion_ids`, `completion_mask` and `logprobs`. Where earlier thinking was stripped, an episode
has a row for each of its turns, `row` of `rows`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pyarrow
from pyarrow import parquet

from qwq_env.export.conversation import conversation_of
from qwq_env.rollout.stored import StoredEpisode, StoredRun

_BATCH: Final = 256
"""Rows in memory at a time, and of a group in the file."""

_CALL: Final = pyarrow.struct(
    [("id", pyarrow.string()), ("type", pyarrow.string()),
     ("function", pyarrow.struct([("name", pyarrow.string()), ("arguments", pyarrow.string())]))]
)  # fmt: skip
_MESSAGE: Final = pyarrow.struct(
    [("role", pyarrow.string()), ("content", pyarrow.string()),
     ("reasoning_content", pyarrow.string()), ("tool_calls", pyarrow.list_(_CALL)),
     ("tool_call_id", pyarrow.string()), ("name", pyarrow.string()), ("error", pyarrow.string())]
)  # fmt: skip
_SCHEMA: Final = pyarrow.schema(
    [
        ("task_id", pyarrow.string()), ("episode", pyarrow.string()), ("seed", pyarrow.int64()),
        ("phase", pyarrow.string()), ("step", pyarrow.int64()), ("environment", pyarrow.string()),
        ("reward", pyarrow.float64()), ("advantage", pyarrow.float64()),
        ("outcome", pyarrow.string()), ("reason", pyarrow.string()), ("answer", pyarrow.string()),
        ("reference", pyarrow.string()), ("scores", pyarrow.string()),
        ("messages", pyarrow.list_(_MESSAGE)), ("row", pyarrow.int64()), ("rows", pyarrow.int64()),
        ("prompt_ids", pyarrow.list_(pyarrow.int64())),
        ("completion_ids", pyarrow.list_(pyarrow.int64())),
        ("completion_mask", pyarrow.list_(pyarrow.int8())),
        ("logprobs", pyarrow.list_(pyarrow.float64())),
    ]
)  # fmt: skip


def write_huggingface(run: StoredRun, episodes: Iterable[StoredEpisode], folder: Path) -> int:
    """Write the dataset into the new `folder`; return how many episodes are in it."""
    (folder / "data").mkdir()
    count = 0

    def rows() -> Iterator[dict[str, Any]]:
        nonlocal count
        for episode in episodes:
            count += 1
            yield from _rows(episode)
            episode.forget()

    with parquet.ParquetWriter(folder / "data/train-00000-of-00001.parquet", _SCHEMA) as writer:
        all_rows = rows()
        while some := list(islice(all_rows, _BATCH)):
            writer.write_table(pyarrow.Table.from_pylist(some, schema=_SCHEMA))
    (folder / "README.md").write_text(_card(run, count), encoding="utf-8")
    return count


def _rows(episode: StoredEpisode) -> Iterator[dict[str, Any]]:
    trajectory, outcome = episode.trajectory, episode.outcome
    messages = [_message(message) for message in conversation_of(episode.segments)]
    common = {
        "task_id": episode.task, "episode": episode.name, "seed": episode.head.get("seed"),
        "phase": episode.phase, "step": episode.step, "environment": episode.environment,
        "reward": episode.reward, "advantage": episode.advantage, "outcome": outcome.kind,
        "reason": outcome.reason, "answer": trajectory.answer,
        "reference": _json(trajectory.reference), "scores": _json(episode.head.get("scores", {})),
        "messages": messages, "rows": len(trajectory.rows),
    }  # fmt: skip
    common = {key: _text(value) if isinstance(value, str) else value
              for key, value in common.items()}  # fmt: skip
    for number, row in enumerate(trajectory.rows):
        yield {
            **common, "row": number, "prompt_ids": row.prompt_ids,
            "completion_ids": row.completion_ids, "completion_mask": row.mask,
            "logprobs": row.logprobs,
        }  # fmt: skip


def _message(message: dict[str, Any]) -> dict[str, Any]:
    return {key: _text(value) if isinstance(value, str) else value
            for key, value in message.items()}  # fmt: skip


def _text(text: str) -> str:
    # Half a surrogate pair cannot be written in UTF-8, which Parquet's texts are.
    return text.encode("utf-8", "replace").decode("utf-8")


def _json(value: Any) -> str:
    return json.dumps(value, default=str)


def _card(run: StoredRun, count: int) -> str:
    model = f", sampled from `{run.model}`" if run.model else ""
    return (
        "---\nconfigs:\n- config_name: default\n  data_files: data/*.parquet\n"
        "tags:\n- qwq-env\n- reinforcement-learning\n---\n"
        f"# Episodes of {run.name}\n\n{count} episodes of tool use, written by `qwq export`{model}."
        " `messages` is the conversation, `completion_mask` 1 on the tokens that the policy"
        " sampled, with their `logprobs`; `reference` and `scores` are JSON.\n"
    )
