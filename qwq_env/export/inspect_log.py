"""Episodes as a log of Inspect (inspect_ai), which `inspect view` opens: one JSON file.

A sample is an episode; episodes of the same task are its epochs. Each component of the reward is a
scorer, and `reward` is one too. Inspect itself is not needed to write it.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean
from typing import Any, Final, TextIO

from qwq_env._version import __version__
from qwq_env.export.conversation import Message, conversation_of
from qwq_env.rollout.stored import ScoredComponent, StoredEpisode, StoredRun

_LIMITS: Final = {"turns": "message", "tool_calls": "message", "tokens": "token",
                  "seconds": "time", "batch_deadline": "time"}  # fmt: skip


def log_name(run: StoredRun, name: str) -> str:
    """Return the file name under which Inspect's viewer lists a log: it begins with a time."""
    return f"{_made(run).strftime('%Y-%m-%dT%H-%M-%S')}_{name}.json"


def is_listed(file: Path) -> bool:
    """Say whether Inspect's viewer lists a JSON file of this name."""
    return re.match(r"\d{4}-\d\d-\d\dT\d\d[:-]\d\d[:-]\d\d.*\.json$", file.name) is not None


def write_inspect(run: StoredRun, episodes: Iterable[StoredEpisode], file: Path) -> int:
    """Write the log and return how many samples it has.

    One sample is in memory at a time; the samples come last in the file, and what needs to be known
    of all of them, the means, stands in the heads of the rows.
    """
    listed = list(episodes)
    seen: Counter[str] = Counter()
    with file.open("w", encoding="utf-8") as out:
        head = json.dumps(_header(run, listed), default=str)
        out.write(f'{head[:-1]}, "samples": [')
        for number, episode in enumerate(listed):
            seen[episode.task] += 1
            out.write("," if number else "")
            _write(out, _sample(episode, seen[episode.task], run.model or "unknown"))
            episode.forget()
        out.write("]}\n")
    return len(listed)


def _write(out: TextIO, sample: dict[str, Any]) -> None:
    out.write("\n")
    # As escapes: half a surrogate pair cannot be written otherwise.
    json.dump(sample, out, default=str)


def _made(run: StoredRun) -> datetime:
    when = min((file.stat().st_mtime for file in run.files), default=0.0)
    return datetime.fromtimestamp(when, UTC)


def _header(run: StoredRun, episodes: Sequence[StoredEpisode]) -> dict[str, Any]:
    created = _made(run).isoformat(timespec="seconds")
    tasks = list(dict.fromkeys(episode.task for episode in episodes))
    known = sorted({episode.environment for episode in episodes if episode.environment})
    counts = Counter(episode.task for episode in episodes)
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "run_id": run.name, "created": created, "task": run.name, "task_id": run.name,
            "dataset": {"name": ", ".join(known) or run.name, "samples": len(tasks),
                        "sample_ids": tasks, "shuffled": False},
            "model": f"qwq-env/{run.model or 'unknown'}",
            "config": {"epochs": max(counts.values(), default=1)},
            "packages": {"qwq_env": __version__},
            "metadata": {"source": run.kind, "settings": run.settings},
        },
        "plan": {"name": "plan", "steps": []},
        "results": {
            "total_samples": len(episodes),
            "completed_samples": sum(episode.reward is not None for episode in episodes),
            "scores": _means(episodes),
        },
        "stats": {"started_at": created, "completed_at": created},
    }  # fmt: skip


def _means(episodes: Sequence[StoredEpisode]) -> list[dict[str, Any]]:
    values: dict[str, list[float]] = {}
    for episode in episodes:
        for component in _scored(episode):
            kept = values.setdefault(component.name, [])
            kept += [] if component.value is None else [component.value]
    return [
        {
            "name": name, "scorer": name, "scored_samples": len(known),
            "metrics": {"mean": {"name": "mean", "value": fmean(known) if known else 0.0}},
        }
        for name, known in values.items()
    ]  # fmt: skip


def _scored(episode: StoredEpisode) -> list[ScoredComponent]:
    own = [part for part in episode.components if part.name != "reward"]
    return [ScoredComponent("reward", episode.reward, episode.outcome.reason), *own]


def _sample(episode: StoredEpisode, epoch: int, model: str) -> dict[str, Any]:
    segments, trajectory = episode.segments, episode.trajectory
    messages = [_message(message) for message in conversation_of(segments)]
    opening = [m for m in messages if m["role"] != "assistant" and m["role"] != "tool"]
    first = next((i for i, m in enumerate(messages) if m["role"] == "assistant"), len(messages))
    reference = trajectory.reference
    target = reference if isinstance(reference, str) else json.dumps(reference, default=str)
    outcome, tokens = episode.outcome, episode.tokens
    sample: dict[str, Any] = {
        "id": episode.task, "epoch": epoch, "uuid": f"{episode.phase}/{episode.name}",
        "input": messages[:first] or opening, "target": "" if reference is None else target,
        "messages": messages, "output": _output(messages, trajectory.answer, episode, model),
        "scores": {
            part.name: {
                "value": part.value, "answer": part.extracted or trajectory.answer,
                "explanation": f"{part.reason}: {part.detail}" if part.detail else part.reason,
            }
            for part in _scored(episode)
            if part.value is not None
        },
        "metadata": {
            "phase": episode.phase, "step": episode.step, "environment": episode.environment,
            "advantage": episode.advantage, "seed": episode.head.get("seed"),
            "outcome": dict(episode.head["outcome"]), "seconds": episode.seconds._asdict(),
            "tokens": dict(tokens), "weight_version": episode.weight_version,
        },
        "total_time": sum(episode.seconds) - episode.seconds.waiting,
        "working_time": sum(episode.seconds) - episode.seconds.waiting,
    }  # fmt: skip
    if outcome.kind == "failed":
        text = f"{outcome.reason}: {outcome.detail}"
        sample["error"] = {"message": text, "traceback": text, "traceback_ansi": text}
    if outcome.kind == "truncated":
        sample["limit"] = {"type": _LIMITS.get(outcome.reason, "custom"), "limit": 0,
                           "reason": outcome.reason}  # fmt: skip
    return sample


def _message(message: Message) -> dict[str, Any]:
    role, content = message["role"], message["content"]
    if role == "assistant":
        thinking = message.get("reasoning_content")
        parts = [{"type": "reasoning", "reasoning": thinking}] if thinking else []
        made: dict[str, Any] = {
            "role": role,
            "content": [*parts, {"type": "text", "text": content}] if parts else content,
        }
        if calls := message.get("tool_calls"):
            made["tool_calls"] = [_call(call) for call in calls]
        return made
    if role == "tool":
        made = {"role": role, "content": content, "function": message.get("name") or None,
                "tool_call_id": message.get("tool_call_id")}  # fmt: skip
        if error := message.get("error"):
            made["error"] = {"type": "unknown", "message": f"{error}: {content}"}
        return made
    return {"role": role, "content": content}


def _call(call: Message) -> dict[str, Any]:
    arguments = json.loads(call["function"]["arguments"])
    made = {
        "id": call["id"], "function": call["function"]["name"], "type": "function",
        "arguments": arguments if isinstance(arguments, dict) else {"arguments": arguments},
    }  # fmt: skip
    return made | ({"parse_error": call["error"]} if "error" in call else {})


def _output(
    messages: Sequence[dict[str, Any]], answer: str, episode: StoredEpisode, model: str
) -> dict[str, Any]:
    last = next((m for m in reversed(messages) if m["role"] == "assistant"), None)
    counts = episode.tokens
    stop = "max_tokens" if episode.outcome.truncated else "stop"
    read = episode.head.get("prompt_length", 0) + counts.get("tool", 0) + counts.get("user", 0)
    written = counts.get("policy", 0)
    return {
        "model": model,
        "choices": [] if last is None else [{"message": last, "stop_reason": stop}],
        "completion": answer,
        "usage": {"input_tokens": read, "output_tokens": written, "total_tokens": read + written},
    }
