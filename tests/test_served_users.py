"""A simulated user from plain data: what its server is sent, and what becomes of its failures."""

from __future__ import annotations

import asyncio
import copy
import json
import math
import pickle

import gymnasium as gym
import pytest

from qwq_env.cli import main
from qwq_env.envs.retail.environment import RetailEnv
from qwq_env.envs.reward_models import make_reward_model
from qwq_env.errors import UsageError
from qwq_env.registry import make_environment
from qwq_env.rollout.engine import Assignment, Engine, EngineSettings
from qwq_env.rollout.scripted import ScriptedPolicy
from qwq_env.training.environments import environments
from qwq_env.training.recipe import load_recipe
from qwq_env.users import ChatUser, ScriptedUser, make_user
from tests.published import SAMPLES

from .rollout.chat_server import Failure, Server, Stream, delta, end

KEY = "sk-secret-0123456789"
NOWHERE = "http://127.0.0.1:9/v1"
ASKS = "</think>\n\nWho are you?<|im_end|>"


def says(words: str):
    return [delta(content=words), end()]


def data(server, **more):
    return {"endpoint": getattr(server, "url", server), "model": "m", "attempts": 1, **more}


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("SOME_KEY", KEY)


def ask(env, turn=ASKS):
    env.reset(seed=0)
    return env.step(turn)


def test_settings_and_a_seed_reach_the_server_and_the_key_stays_in_its_header():
    settings = {"temperature": 0.7, "top_p": 0.9, "max_tokens": 50, "extra": {"min_p": 0.1}}
    with Server([says("It is Ann."), says("###STOP###")], repeat=False) as server:
        user = data(server, api_key_variable="SOME_KEY", **settings)
        env = gym.make("qwq/Retail-v0", user=user)
        observation, reward, ended, *_ = ask(env)
        assert "It is Ann." in observation and not ended and reward == 0.0
        _, reward, ended, _, info = env.step(ASKS)

    assert ended and info["outcome"]["reason"] == "answered"
    first, second = server.requests
    assert {**settings["extra"], "model": "m", "max_tokens": 50}.items() <= first.items()
    assert (first["temperature"], first["top_p"]) == (0.7, 0.9)
    assert isinstance(first["seed"], int) and first["seed"] != second["seed"]
    assert first["messages"][0]["content"].startswith("You play a customer")
    assert first["messages"][-1] == {"role": "user", "content": "Who are you?"}
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("again", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_asks_the_same_server_with_the_same_key(again):
    with Server([says("Ann.")], repeat=True) as server:
        env = RetailEnv(user=data(server, api_key_variable="SOME_KEY", seeded=False))
        ask(env)
        assert "Ann." in ask(again(env))[0]

    assert KEY.encode() not in pickle.dumps(env)
    assert [headers["Authorization"] for headers in server.headers] == [f"Bearer {KEY}"] * 2
    assert "seed" not in server.requests[0]


FAILURES = [
    Stream(b"<html>Log in</html>"), Failure(503), Stream(b'data: {"choices": [{"delta"'),
    Failure(200, {"choices": []}), says(""), says("<think>never closed"),
    [delta(content="It was cut o"), end("length")], [delta(content="x"), end("content_filter")],
]  # fmt: skip


@pytest.mark.parametrize("failure", FAILURES)
def test_nonsense_is_infrastructure_and_never_a_zero(failure):
    with Server([failure], repeat=True) as server:
        _, reward, _, _, info = ask(RetailEnv(user=data(server)))

    assert math.isnan(reward)
    assert info["outcome"]["reason"] == "infrastructure"
    assert info["outcome"]["detail"].startswith("user: ")


def test_a_server_that_asks_for_a_pause_gets_it():
    busy = Failure(429, "slow down", (("Retry-After", "0"),))
    with Server([busy, says("Ann.")]) as server:
        assert "Ann." in ask(RetailEnv(user=data(server, attempts=2)))[0]


def test_a_wrong_key_is_the_operators_to_mend():
    with Server([Failure(401, {"error": {"message": "wrong key"}})], repeat=True) as server:
        env = RetailEnv(user=data(server, api_key_variable="SOME_KEY"))
        with pytest.raises(UsageError, match=r"wrong key.*check the address.*SOME_KEY"):
            ask(env)


@pytest.mark.parametrize("episodes", [1, 8])
def test_a_server_that_dies_costs_the_episodes_that_need_it(codec, episodes):
    """Also where nothing was ever served: the policy's servers are there, and the run goes on."""
    with Server([says("Ann.")], repeat=True) as server:
        env = RetailEnv(user=data(server))
        if episodes == 1:
            ask(env)
    tasks = [env.tasks.task(number) for number in range(episodes)]
    engine = Engine(
        env, ScriptedPolicy(codec, [ASKS] * 2), codec, settings=EngineSettings(attempts=1)
    )
    played = asyncio.run(engine.run([Assignment(t, t.id, 0) for t in tasks]))

    assert {(t.reward, t.outcome.reason) for t in played} == {(None, "infrastructure")}
    assert math.isnan(ask(env)[1])


def test_its_tokens_are_masked_and_counted_apart(codec):
    with Server([says("It is Ann."), says("###STOP###")]) as server:
        env = RetailEnv(user=data(server))
        engine = Engine(env, ScriptedPolicy(codec, [ASKS] * 2), codec)
        [played] = asyncio.run(engine.run([Assignment(env.tasks.task(0), "e", 7)]))

    [user] = [span for span in played.spans if span.author == "user"]
    mask = played.mask[user.start - played.prompt_length : user.end - played.prompt_length]
    assert "It is Ann." in codec.decode(played.ids[user.start : user.end])
    assert not any(mask) and played.tokens["user"] == len(mask)
    assert (played.outcome.reason, played.reward) == ("answered", 0.0)


RECIPE = """
name: desk
environment:
  id: {id}
  arguments: {arguments}
policy: {{checkpoint: tiny}}
"""


@pytest.mark.parametrize("mixed", [False, True])
def test_a_recipe_holds_one(tmp_path, mixed):
    user = json.dumps(data(NOWHERE, temperature=0.7))
    member = f"{{desk: {{id: qwq/Retail-v0, user: {user}}}}}"
    names = {"id": "qwq/Mixture-v0", "arguments": f"{{members: {member}}}"}
    alone = {"id": "qwq/Retail-v0", "arguments": f"{{user: {user}}}"}
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE.format(**(names if mixed else alone)))
    overrides = [] if mixed else ["environment.arguments.user.model=other"]
    for env in environments(load_recipe(file, overrides)):
        made = env.members["desk"].user if mixed else env.user

        assert (made.model.base_url, made.model.model) == (NOWHERE, "m" if mixed else "other")
        assert made.sampling.temperature == 0.7


def test_an_evaluation_names_one(tmp_path, capsys):
    answers = tmp_path / "answers.jsonl"
    rows = [{"task_id": i, "response": "Who are you?"} for i in ("0", "39", "40")]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Server([says("###STOP###")], repeat=True) as server:
        asked = ["eval", "retail", "--data", str(SAMPLES / "tau2_retail"), "--limit", "1", "--json"]
        asked += ["--answers", str(answers), "--out", str(tmp_path / "out")]
        assert main([*asked, "--argument", f"user={json.dumps(data(server))}"]) == 0

    told = json.loads(capsys.readouterr().out)
    assert len(server.requests) == 1
    assert told["benchmark"]["other_than_preset"]["arguments"]["user"]["model"] == "m"


@pytest.mark.parametrize("text", ["user", "=x", "tasks=shop", "nobody=1", "user=me"])
def test_an_argument_that_is_none_is_refused(tmp_path, capsys, text):
    asked = ["eval", "qwq/Retail-v0", "--tasks", "1", "--endpoint", NOWHERE, "--model", "m"]

    assert main([*asked, "--out", str(tmp_path / "out"), "--argument", text]) == 2
    assert "argument" in (told := capsys.readouterr().err) or "user: 'me'" in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["chat:http://[::1]:8000/v1:Qwen/QwQ-32B", {"endpoint": "openai"}])
def test_texts_and_names_of_endpoints(name):
    user = make_user({**name, "model": "Qwen/QwQ-32B"} if isinstance(name, dict) else name, "Ann")

    assert isinstance(user, ChatUser)
    assert user.model.model == "Qwen/QwQ-32B"
    assert user.model.base_url in ("http://[::1]:8000/v1", "https://api.openai.com/v1")
    assert isinstance(make_user(user.model, "Ann"), ChatUser)
    assert make_user(user, "Bob") is user


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"modle": "m"}, "setting: 'modle' is not known .did you mean 'model'"),
        ({"api_key": KEY}, "setting: 'api_key' is not known .did you mean 'api_key_variable'"),
        ({"api_key_variable": KEY}, "api_key_variable: no name"),
        ({"endpoint": None}, "endpoint: None; expected http://host"),
        ({"endpoint": "127.0.0.1:8000"}, "endpoint: '127.0.0.1:8000'; expected http://host"),
        ({"endpoint": "http://me:secret@host/v1"}, "endpoint: holds a user name or password"),
        ({"endpoint": "opnai"}, "endpoint: 'opnai' is not known .did you mean 'openai'"),
        ({"model": " "}, "model: ' '; expected the name to ask for"),
        ({"extra": "x"}, "extra: 'x'; expected an object"),
        ({"max_tokens": 0}, "max_tokens: 0"),
        ({"attempts": "3"}, "attempts: '3'"),
        ({"seconds": -1}, "seconds: -1"),
    ],
)
def test_what_a_user_and_a_judge_refuse_alike(more, words):
    given = {"endpoint": NOWHERE, "model": "m", **more}
    for field, make in (
        ("user", lambda: make_user(given, "Ann")),
        ("reward_model", lambda: make_reward_model(given)),
    ):
        with pytest.raises(UsageError, match=f"^{field}: {words}") as caught:
            make()
        assert KEY not in str(caught.value) and "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (data(NOWHERE, temperature="hot"), "temperature: 'hot'"),
        (data(NOWHERE, seeded="yes"), "seeded: 'yes'; expected true or false"),
        (data(NOWHERE, stop=""), "stop: ''"),
        ("judge:http://host/v1:m", "'judge:http://host/v1:m'; expected one with reply"),
        (ScriptedUser, "<class.*expected one with reply"),
        (3, "3; expected one with reply"),
    ],
)
def test_what_is_no_user(user, words):
    with pytest.raises(UsageError, match=f"^user: {words}"):
        make_environment("qwq/Retail-v0", {"user": user})


def test_a_judge_of_plain_data_is_one_object_with_its_settings(monkeypatch):
    given = {"endpoint": NOWHERE, "model": "m", "rubric": "Is it short?", "high": 5}
    judge = make_reward_model(given)

    assert make_reward_model(dict(reversed(given.items()))) is judge
    assert (judge.examiner.base_url, judge.examiner.model) == (NOWHERE, "m")
    with pytest.raises(UsageError, match=r"^reward_model: low, high: 7, 5"):
        make_reward_model({**given, "low": 7})
    with pytest.raises(UsageError, match=r"^reward_model: high: 'ten'; expected a number"):
        make_reward_model({**given, "high": "ten"})
