"""`qwq envs`: which environments there are, and the card of one."""

from __future__ import annotations

import argparse
import json
import textwrap
from collections.abc import Mapping
from typing import Any

from qwq_env.cards import Card, card_of, library_ids
from qwq_env.errors import InfrastructureError, UsageError
from qwq_env.text.characters import printable


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `qwq envs`."""
    parser = subparsers.add_parser(
        "envs",
        help="list the environments, or show one",
        description="Lists the environments that come with the library, a line each: task, tools,"
        " where tasks come from by default, what is paid. With an id, its card and an episode, in"
        " which its own solution of its first task is played.",
    )
    parser.add_argument("env_id", nargs="?", help="one of them, or MODULE:id of your own")
    parser.add_argument("--json", action="store_true", help="JSON instead")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the list, or the card."""
    if arguments.env_id is not None:
        return _show(card_of(arguments.env_id), arguments)
    cards = [card_of(each) for each in library_ids()]
    if arguments.json:
        print(json.dumps([_told(card) for card in cards]))
        return 0
    width = max(len(card.id) for card in cards)
    for card in cards:
        told = _told(card)
        cells = [_cut(told["task"], 80), *(f"{name}: {_cut(told[name], 64)}" for name in _COLUMNS)]
        print(f"{card.id:<{width}}  {' | '.join(cells)}")
    return 0


_COLUMNS = ("tools", "tasks", "reward")


def _told(card: Card) -> dict[str, str]:
    """Return what a line of the list says, each from the source of the environment."""
    tools = card.defaults.get("tools")
    return {
        "id": card.id,
        "task": card.title.replace("`", "").rstrip("."),
        "tools": card.first("tools") if tools is None else ", ".join(tools) or "none",
        "tasks": str(card.defaults.get("tasks") or card.first("task")),
        "reward": card.first("reward"),
    }


def _cut(text: str, width: int) -> str:
    return textwrap.shorten(text, width, placeholder=" ...")


def _show(card: Card, arguments: argparse.Namespace) -> int:
    # What is loaded from here on takes seconds.
    from qwq_env.evaluation.example import example_episode  # noqa: PLC0415

    episode, missing = None, ""
    try:
        episode = example_episode(arguments.env_id)
    except (UsageError, InfrastructureError) as error:
        missing = str(error)
    if arguments.json:
        played = None if episode is None else episode._asdict()
        print(json.dumps({**_told(card), "card": card.text, "episode": played}))
        return 0
    print(printable(card.text))
    if episode is None:
        print(f"\nNo episode to show: {printable(missing, lines=False)}")
        return 0
    print(f"\nAn episode, just played: {printable(episode.task_id, lines=False)}")
    for message in episode.messages:
        print(f"\n[{message['role']}]\n{printable(_words(message))}")
    print(f"\nreward {episode.reward}")
    return 0


def _words(message: Mapping[str, Any]) -> str:
    """Return what a message says: its thinking, its text, its calls."""
    thinking = message.get("reasoning_content")
    parts = [f"({thinking.strip()})" if thinking else "", str(message.get("content") or "")]
    for call in message.get("tool_calls") or ():
        function = call["function"]
        given = function.get("arguments", {})
        told = given if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
        parts.append(f"{function.get('name')}({told})")
    return "\n".join(filter(None, parts))
