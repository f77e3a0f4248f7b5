"""Episodes as a training run stores them, made from nothing: of any number and length.

Texts are sentences of Python's own manual in a random order, cut into pieces as a tokenizer would
(4 characters a token); log-probabilities are drawn as a confident model's are. A group shares its
prompt, and nothing else is alike, so that nothing compresses better than a real run would.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Iterator
from functools import cache
from pydoc_data import topics

from qwq_env.outcome import Outcome
from qwq_env.segments import Block, Segment
from qwq_env.trajectory import PhaseSeconds, Span, Trajectory

GROUP = 8
PER_STEP = 64
_PIECE = re.compile(r"<\|\w+\|>|</?\w+>| ?[A-Za-z]{1,6}|\d{1,3}|\s+|.", re.DOTALL)
_SYSTEM = "You are a careful assistant. You may call tools; answer in \\boxed{}."


class Tokens:
    """A vocabulary that takes in each piece of text as it comes."""

    def __init__(self) -> None:
        self.ids: dict[str, int] = {}
        self._pieces: list[str] = []

    def encode(self, text: str) -> list[int]:
        """Return the ids of a text."""
        return [self._id(piece) for piece in _PIECE.findall(text)]

    def token_bytes(self, token: int) -> bytes:
        """Return what a token writes, as `EpisodeStore` asks."""
        return self._pieces[token].encode()

    def _id(self, piece: str) -> int:
        if piece not in self.ids:
            self.ids[piece] = len(self._pieces)
            self._pieces.append(piece)
        return self.ids[piece]


@cache
def sentences() -> list[str]:
    """Return the sentences of Python's manual."""
    text = re.sub(r"\s+", " ", " ".join(topics.topics.values()))
    return [sentence for sentence in re.split(r"(?<=[.:;]) ", text) if len(sentence) > 20]


def episodes(
    number: int, tokens: int, vocabulary: Tokens, *, seed: int = 0
) -> Iterator[tuple[Trajectory, int]]:
    """Yield `number` episodes of about `tokens` tokens, each with its training step."""
    for index in range(number):
        group = random.Random(f"{seed} {index // GROUP}")
        question = " ".join(group.choices(sentences(), k=3))
        rng = random.Random(f"{seed} {index} {tokens}")
        yield _episode(index, question, tokens, vocabulary, rng), index // PER_STEP + 1


def _episode(
    index: int, question: str, tokens: int, vocabulary: Tokens, rng: random.Random
) -> Trajectory:
    right = rng.random() < 0.4 + 0.5 * (index % 97) / 97
    lost = rng.random() < 0.01
    cut = not lost and rng.random() < 0.05
    number = rng.randrange(10**6)
    blocks = list(_blocks(question, tokens, number, rng))
    ids: list[int] = []
    mask: list[int] = []
    logprobs: list[float] = []
    spans: list[Span] = []
    for block in blocks:
        for segment in block.segments:
            written = vocabulary.encode(segment.text)
            author = "thinking" if segment.kind == "thinking" else "answer"
            by = author if block.by == "model" else block.by
            if spans and spans[-1].author == by:
                spans[-1] = spans[-1]._replace(end=len(ids) + len(written))
            else:
                spans.append(Span(len(ids), len(ids) + len(written), by))
            ids += written
            if block.by != "task":
                sampled = block.by == "model"
                mask += [int(sampled)] * len(written)
                logprobs += [_logprob(rng) if sampled else 0.0 for _ in written]
    prompt = len(ids) - len(mask)
    outcome = Outcome.cut("tokens", f"{tokens} tokens") if cut else Outcome.answered()
    if lost:
        outcome = Outcome.lost("infrastructure", "the sandbox did not answer within 30 s")
    reward = None if lost else float(right and not cut)
    failed = sum(s.status != "" for b in blocks for s in b.segments)
    calls = sum(s.kind == "call" for b in blocks for s in b.segments)
    return Trajectory(
        task_id=f"manual/{index // GROUP}",
        episode=f"{index // PER_STEP + 1}-0.0.{index % PER_STEP}",
        seed=index, ids=ids, prompt_length=prompt, mask=mask, logprobs=logprobs, spans=spans,
        outcome=outcome, reward=reward, answer=f"The answer is \\boxed{{{number}}}",
        reference=str(number if right else number + 1), scores={"accuracy": reward},
        reasons={"accuracy": ["equal" if right else "different", "", str(number)]},
        counts={"ok": calls - failed, "timeout": failed} if failed else {"ok": calls},
        turns=sum(b.by == "model" for b in blocks), tool_calls=calls,
        seconds=PhaseSeconds(rng.random() * 40, rng.random() * 3, 0.01, rng.random(), 0.0),
        tokens={"policy": sum(mask), "tool": len(mask) - sum(mask)},
        environment="qwq/MathTool-v0", transcript=blocks,
    )  # fmt: skip


def _blocks(question: str, tokens: int, number: int, rng: random.Random) -> Iterator[Block]:
    def prose(count: int) -> str:
        words, size = [], 0
        while size < 4 * count:
            words.append(rng.choice(sentences()))
            size += len(words[-1]) + 1
        return " ".join(words)[: 4 * count]

    mark = Segment
    yield Block("task", (
        mark("markup", "<|im_start|>system\n"), Segment("system", _SYSTEM),
        mark("markup", "<|im_end|>\n<|im_start|>user\n"), Segment("task", question),
        mark("markup", "<|im_end|>\n<|im_start|>assistant\n<think>\n"),
    ))  # fmt: skip
    turns = rng.choice((1, 2, 2, 3))
    for turn in range(turns):
        last = turn == turns - 1
        thinking = Segment("thinking", prose(tokens // (turns + 1)) + "\n")
        if last:
            answer = f"{prose(tokens // (8 * turns))}\nThe answer is \\boxed{{{number}}}"
            yield Block(
                "model",
                (
                    thinking,
                    mark("markup", "</think>\n"),
                    Segment("answer", answer),
                    mark("markup", "<|im_end|>"),
                ),
            )
            return
        code = f"print({rng.randrange(10**4)} * {rng.randrange(10**4)})"
        call = Segment(
            "call",
            f'{{"name": "python", "arguments": {{"code": "{code}"}}}}',
            "python",
            {"code": code},
        )
        yield Block("model", (
            thinking, mark("markup", "</think>\n<tool_call>\n"), call,
            mark("markup", "\n</tool_call><|im_end|>"),
        ))  # fmt: skip
        failed = rng.random() < 0.1
        result = Segment(
            "result", prose(max(4, tokens // 40)), "python", None, "timeout" if failed else "",
            "tool_error" if failed else "", round(rng.random() * 2, 6),
        )  # fmt: skip
        yield Block("tool", (
            mark("markup", "\n<|im_start|>user\n<tool_response>\n"), result,
            mark("markup", "\n</tool_response><|im_end|>\n<|im_start|>assistant\n<think>\n"),
        ))  # fmt: skip


def _logprob(rng: random.Random) -> float:
    """Most tokens are all but certain; of the rest a model is as unsure as one is of 1.1 bits."""
    if rng.random() < 0.5:
        return -math.exp(rng.uniform(-16, -8))
    return -rng.expovariate(1.0)
