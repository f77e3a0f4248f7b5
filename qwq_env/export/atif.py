"""Episodes in the agent trajectory interchange format (ATIF), as Harbor's models read it.

A folder with one JSON file an episode. A step is a message of the system, the task or a user, or a
turn of the model with its calls and what they got; of a turn whose tokens are known, its metrics
hold them with their log-probabilities, so that one can train on the file without encoding anew.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from qwq_env._version import __version__
from qwq_env.export.conversation import Message, conversation_of
from qwq_env.export.folder import file_name
from qwq_env.rollout.stored import StoredEpisode, StoredRun

_SCHEMA: Final = "ATIF-v1.7"


def write_atif(run: StoredRun, episodes: Iterable[StoredEpisode], folder: Path) -> int:
    """Write each episode into the new `folder`; return how many there were."""
    count = 0
    for count, episode in enumerate(episodes, start=1):
        name = file_name(count, episode.phase, episode.name)
        text = json.dumps(atif_of(episode, run), ensure_ascii=True, default=str)
        (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")
        episode.forget()
    return count


def atif_of(episode: StoredEpisode, run: StoredRun) -> dict[str, Any]:
    """Return one episode as an ATIF document."""
    steps = [{"step_id": n, **step} for n, step in enumerate(_steps(episode), start=1)]
    counts = episode.tokens
    document: dict[str, Any] = {
        "schema_version": _SCHEMA,
        "session_id": run.name,
        "trajectory_id": f"{episode.phase or 'evaluation'}/{episode.name}",
        "agent": {
            "name": "qwq-env", "version": __version__, "model_name": run.model or "unknown",
            "extra": {"environment": episode.environment},
        },
        # An episode without text still is one of some step.
        "steps": steps or [{"step_id": 1, "source": "user", "message": ""}],
        "final_metrics": {
            "total_prompt_tokens": episode.head.get("prompt_length", 0),
            "total_completion_tokens": counts.get("policy", 0),
            "total_steps": max(1, len(steps)),
            "extra": {"reward": episode.reward, "scores": episode.head.get("scores", {}),
                      "seconds": episode.seconds._asdict(), "tokens": dict(counts)},
        },
        "extra": {
            "task_id": episode.task, "seed": episode.head.get("seed"), "phase": episode.phase,
            "step": episode.step, "reward": episode.reward, "advantage": episode.advantage,
            "outcome": dict(episode.head["outcome"]), "reference": episode.trajectory.reference,
            "reasons": episode.head.get("reasons", {}), "weight_version": episode.weight_version,
        },
    }  # fmt: skip
    return document


def _steps(episode: StoredEpisode) -> Iterator[dict[str, Any]]:
    turn: dict[str, Any] | None = None
    metrics = _metrics(episode)
    for message in conversation_of(episode.segments):
        if message["role"] == "tool" and turn is not None:
            results = turn.setdefault("observation", {"results": []})["results"]
            results.append(_result(message))
            continue
        if turn is not None:
            yield turn
            turn = None
        if message["role"] == "assistant":
            turn = _turn(message, next(metrics, None))
        else:
            source = "system" if message["role"] == "system" else "user"
            yield {"source": source, "message": message["content"]}
    if turn is not None:
        yield turn


def _turn(message: Message, metrics: Mapping[str, Any] | None) -> dict[str, Any]:
    turn: dict[str, Any] = {"source": "agent", "message": message["content"], "llm_call_count": 1}
    if thinking := message.get("reasoning_content"):
        turn["reasoning_content"] = thinking
    if calls := message.get("tool_calls"):
        turn["tool_calls"] = [_call(call) for call in calls]
    return turn | ({"metrics": dict(metrics)} if metrics else {})


def _call(call: Message) -> dict[str, Any]:
    arguments = json.loads(call["function"]["arguments"])
    if not isinstance(arguments, dict):
        arguments = {"arguments": arguments}
    made = {"tool_call_id": call["id"], "function_name": call["function"]["name"],
            "arguments": arguments}  # fmt: skip
    return made | ({"extra": {"error": call["error"]}} if "error" in call else {})


def _result(message: Message) -> dict[str, Any]:
    result = {"content": message["content"]}
    if "tool_call_id" in message:
        result["source_call_id"] = message["tool_call_id"]
    return result | ({"extra": {"error": message["error"]}} if "error" in message else {})


def _metrics(episode: StoredEpisode) -> Iterator[dict[str, Any]]:
    """Yield the tokens of each turn of the model, in order; nothing where there are no tokens."""
    for row in episode.trajectory.rows:
        start, ids = row.prompt_length, row.completion_ids
        at = 0
        while at < len(row.mask):
            end = at
            while end < len(row.mask) and row.mask[end] == row.mask[at]:
                end += 1
            if row.mask[at]:
                yield {
                    "prompt_tokens": start + at, "completion_tokens": end - at,
                    "completion_token_ids": ids[at:end], "logprobs": row.logprobs[at:end],
                }  # fmt: skip
            at = end
