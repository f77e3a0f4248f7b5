"""`qwq/WordGame-v0`: what the opponents answer, and what is paid."""

from __future__ import annotations

import json
import pickle
import random
import re
from typing import Any

import gymnasium as gym
import pytest

from qwq_env.envs.guessing_games import guess_of, matches, opponent_of, play
from qwq_env.envs.word_game import WordGameEnv, WordGameSet
from qwq_env.errors import UsageError
from qwq_env.evaluation.cheats import audit_rewards
from qwq_env.outcome import EpisodeLimits
from qwq_env.task import ListTaskSet, Task

THOUGHT = "So.\n</think>\n\n"
GAMES = ("number", "code_breaking", "twenty_questions")
NUMBER = {"game": "number", "turns": 4, "most": 1000, "secret": 437}
CODE = {
    "game": "code_breaking", "turns": 4, "length": 3, "symbols": list("12345678"),
    "repeats": False, "secret": list("147"),
}  # fmt: skip
WORDS = {**CODE, "symbols": ["red", "blue", "green", "pink"], "secret": ["red", "pink", "blue"]}
THING = {
    "game": "twenty_questions", "turns": 4, "secret": ["red", "boat", "tin"],
    "attributes": {
        "colour": ["red", "blue", "green"], "kind": ["boat", "drum"], "material": ["tin", "wood"],
    },
}  # fmt: skip


def table(*metadata: dict[str, Any]) -> ListTaskSet:
    return ListTaskSet(
        [Task(each["game"], "Play.", str(each["secret"]), (), each) for each in metadata]
    )


def heard(env: WordGameEnv, *said: str) -> tuple[list[str], float, bool]:
    """Return what the opponent answered, the last reward, and whether the game is over."""
    env.reset(options={"index": 0})
    answers = []
    for each in said:
        _, reward, terminated, truncated, info = env.step(THOUGHT + each)
        answers += [m["content"] for m in info["messages"] if m["role"] == "user"]
    return answers, reward, terminated and not truncated


@pytest.mark.parametrize("split", ["train", "heldout"])
@pytest.mark.parametrize("difficulty", [1, 2, 3])
@pytest.mark.parametrize("game", GAMES)
def test_a_good_player_is_paid(game: str, difficulty: int, split: str) -> None:
    env = WordGameEnv(game=game, difficulty=difficulty, split=split)
    for index in range(2 if game == "code_breaking" else 6):
        _, info = env.reset(options={"index": index})
        task = env.episode.task
        heard = [message["content"] for message in info["messages"]]
        for turn in env.solve(task):
            _, reward, terminated, _, info = env.step(turn)
            heard += [m["content"] for m in info["messages"] if m["role"] == "user"]

        assert (reward, terminated) == (1.0, True)
        # Lists name all symbols and values; the secret as a whole stands nowhere.
        assert not any(re.search(rf"\b{task.answer}\b", text) for text in heard)


@pytest.mark.parametrize(
    ("metadata", "said", "answer"),
    [
        (NUMBER, "Guess: 500", "My number is lower."),
        (NUMBER, "I try \\boxed{250}", "My number is higher."),
        (NUMBER, "Half of it.\n**Guess:** 1,000", "My number is lower."),
        (NUMBER, "Guess: 1 or 2", "I do not understand that guess."),
        (NUMBER, "Guess: 1, 2, 437", "I do not understand that guess."),
        (NUMBER, "Guess: " + "1" * 400, "I do not understand that guess."),
        (NUMBER, "Guess: ٤٣٧", "I do not understand that guess."),
        (NUMBER, "Guess:", "I do not understand that guess."),
        (NUMBER, "437", "I see no guess."),
        (NUMBER, "", "I see no guess."),
        (CODE, "Guess: 1 4 7", None),
        (CODE, "Guess: 174", "1 in the right place, 2 in the code but in another place."),
        (CODE, "Guess: 2, 3, 5", "0 in the right place, 0 in the code"),
        (CODE, "Guess: 1 1 1", "1 in the right place, 0 in the code"),
        (CODE, "Guess: 1 4 7 or 1 4 8", "I do not understand that guess."),
        (CODE, "Guess: 1 4 9", "I do not understand that guess."),
        (WORDS, "Guess: Red Blue Pink", "1 in the right place, 2 in the code"),
        (WORDS, "Guess: redbluepink", "I do not understand that guess."),
        (THING, "Is it red?", "Yes."),
        (THING, "Is its colour blue or green?", "No."),
        (THING, "Is it made of tin, or wood?", "Yes."),
        (THING, "Good. Is it a red boat?", "Yes."),
        (THING, "Is it red and a drum?", "No."),
        (THING, "Is it red or a drum?", "I do not understand that."),
        (THING, "Is it not red?", "I do not understand that."),
        (THING, "Is it heavy?", "I do not understand that."),
        (THING, "Which colour is it?", "I do not understand that."),
        (THING, "Is it red? Is it a boat?", "Ask one question at a time."),
        (THING, "Is it?", "I do not understand that."),
        (THING, "It is red.", "I see no question."),
        (THING, "Is it a red tin boat?", "Yes."),
        (THING, "Guess: a boat of tin, red", None),
        (THING, "Guess: red boat", "I do not understand that guess."),
        (THING, "Guess: red or blue tin boat", "I do not understand that guess."),
        (THING, "Guess: red tin drum", "No, that is not it."),
    ],
)
def test_what_the_opponent_answers(metadata: dict[str, Any], said: str, answer: str | None) -> None:
    answers, reward, over = heard(WordGameEnv(table(metadata)), said)

    assert (over, reward) == ((True, 1.0) if answer is None else (False, 0.0))
    assert [each.startswith(answer or "") for each in answers] == [True] * (answer is not None)
    assert all(each.endswith("(3 turns are left.)") for each in answers)


@pytest.mark.parametrize(
    ("said", "reward"),
    [
        (["Guess: 500", "Guess: 250", "Guess: 400", "Guess: 437"], 1.0),
        (["Guess: 500", "Guess: 250", "Guess: 400", "Guess: 438"], 0.0),
        (["Guess: 437\nGuess: 438", "Guess: 1", "Guess: 1", "hm"], 0.0),
        (["hm", "hm", "hm", "hm"], 0.0),
        ([" ".join(f"Guess: {n}" for n in range(1001))] * 4, 0.0),
        (["\n".join(f"Guess: {n}" for n in range(1001))] * 4, 0.0),
        ([" ".join(f"\\boxed{{{n}}}" for n in range(1001))] * 4, 0.0),
    ],
)
def test_the_game_ends_with_the_last_turn(said: list[str], reward: float) -> None:
    answers, paid, over = heard(WordGameEnv(table(NUMBER)), *said)

    assert (paid, over) == (reward, True)
    assert len(answers) == 3


def test_whoever_repeats_the_opponent_names_nothing() -> None:
    for game in GAMES:
        env = WordGameEnv(game=game)
        for index in range(10):
            _, info = env.reset(options={"index": index})
            said, over = info["messages"][-1]["content"], False
            while not over:
                _, reward, over, _, info = env.step(THOUGHT + said)
                said = info["messages"][-1]["content"]

            assert reward == 0.0


def test_calls_are_no_turns_of_the_game_and_limits_hold() -> None:
    env = WordGameEnv(table(NUMBER), limits=EpisodeLimits(turns=2))
    env.reset(seed=0)
    call = {"function": {"name": "guess", "arguments": {}}}
    env.step({"role": "assistant", "content": None, "tool_calls": [call]})
    _, reward, _, truncated, info = env.step(f"{THOUGHT}Guess: 500")

    assert (reward, truncated, info["outcome"]["reason"]) == (0.0, True, "turns")


def test_games_are_the_same_wherever_they_are_made() -> None:
    tasks = WordGameSet("mixed", seed=3, difficulty=2, split="heldout")
    made = [tasks.task(index) for index in range(30)]
    copy = pickle.loads(pickle.dumps(tasks))

    assert [copy.find(task.id) for task in made] == made
    assert made[5].id == "word_game/mixed/2/heldout/3/5"
    assert {task.metadata["game"] for task in made} == set(GAMES)
    assert [json.loads(json.dumps(task.metadata)) for task in made] == [t.metadata for t in made]
    with pytest.raises(KeyError):
        WordGameSet("number", seed=3).find("word_game/mixed/1/train/3/5")


@pytest.mark.parametrize("game", GAMES)
def test_the_splits_hide_other_things_and_open_in_other_words(game: str) -> None:
    hidden = {}
    for split in ("train", "heldout"):
        tasks = [WordGameSet(game, seed=s, split=split).task(i) for s in (0, 1) for i in range(100)]
        hidden[split] = {task.answer for task in tasks}
        opening = {task.prompt.partition("\n")[0].split()[0] for task in tasks}
        hidden[f"{split} words"] = opening

    assert not hidden["train"] & hidden["heldout"]
    assert not hidden["train words"] & hidden["heldout words"]
    assert len(hidden["heldout"]) > 50


@pytest.mark.parametrize("game", GAMES)
def test_the_audit_finds_it_sound(game: str) -> None:
    *cheats, oracle = audit_rewards(WordGameEnv(game=game), tasks=10)

    assert oracle.mean == 1.0
    assert all((paid.mean or 0.0) <= 0.05 for paid in cheats)


def test_strategies_know_no_more_than_was_answered() -> None:
    for game in GAMES:
        tasks = [WordGameSet(game, seed=seed).task(0) for seed in range(20)]
        firsts = {
            (
                json.dumps({**task.metadata, "secret": 0}),
                next(opponent_of(task).strategy()),
            )
            for task in tasks
        }

        assert len(firsts) == len({rules for rules, _ in firsts})


@pytest.mark.parametrize(
    ("code", "guess", "expected"),
    [("1123", "1111", (2, 0)), ("1123", "3211", (0, 4)), ("1123", "1123", (4, 0)),
     ("1234", "5678", (0, 0)), ("1122", "2211", (0, 4)), ("1123", "4415", (0, 1))],
)  # fmt: skip
def test_feedback_is_mastermind_s(code: str, guess: str, expected: tuple[int, int]) -> None:
    assert matches(code, guess) == expected
    assert matches(guess, code) == expected


@pytest.mark.parametrize(
    ("said", "guess"),
    [("hm", None), ("guess : 5", "5"), ("**Guess: 5**", "5"), ("Guess: \\boxed{5}", "5"),
     ("\\boxed{5}", "5"), ("Guess: 4\nGuess: `5`.", "5"), ("Guess: \"5\"", "5")],
)  # fmt: skip
def test_what_is_a_guess(said: str, guess: str | None) -> None:
    assert guess_of(said) == guess


def test_a_game_counts_no_turns_beyond_its_own() -> None:
    standing = play(opponent_of(table(NUMBER).task(0)), ["Guess: 1"] * 4 + ["Guess: 437"])

    assert (standing.solved, standing.turns) == (False, 4)


@pytest.mark.parametrize("difficulty", [1, 3])
def test_random_policies_raise_nothing(difficulty: int) -> None:
    env = gym.make("qwq/WordGame-v0", difficulty=difficulty).unwrapped
    chance = random.Random(1)
    env.action_space.seed(1)
    for number in range(20):
        prompt, _ = env.reset(seed=number)
        words, ending = prompt.split(), False
        while not ending:
            said = " ".join(chance.choices(words, k=3))
            turn = chance.choice([
                THOUGHT + env.action_space.sample(), f"{THOUGHT}Guess: {said}",
                f"{THOUGHT}Is it {said}?", {"role": "assistant", "content": said},
            ])  # fmt: skip
            _, reward, terminated, truncated, _ = env.step(turn)
            ending = terminated or truncated
            assert reward in (0.0, 1.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"game": "numbers"}, "game: 'numbers' is not known (did you mean 'number'?)"),
        ({"difficulty": 4}, "difficulty: 4; expected 1 to 3"),
        ({"split": "test"}, "split: 'test' is not known"),
        ({"tasks": "game"}, "tasks: 'game'; expected 'games' or a TaskSet"),
        ({"tasks": ListTaskSet([Task("t", "x", "")])}, "task t: game: None is not known"),
        ({"tasks": table({"game": "number", "turns": 3, "secret": 5})}, "lacks most; expected"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]*$") as caught:
        WordGameEnv(**arguments)
    assert said in str(caught.value)
