"""`qwq show`, `qwq watch` and `qwq export`: stored episodes for a person, and for other tools."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
from dataclasses import replace

import pytest

from qwq_env.cli import main
from qwq_env.export.atif import atif_of
from qwq_env.export.conversation import conversation_of
from qwq_env.outcome import Outcome
from qwq_env.rollout.store import EpisodeStore
from qwq_env.rollout.stored import StoredRun
from qwq_env.segments import Block, Segment
from qwq_env.trajectory import PhaseSeconds, Span, Trajectory

HOSTILE = "\x1b]0;owned\x07\x1b[2J\u202egnp.exe\u0007[red]x[/red]<b>\r"


def episode(name: str, **changes) -> Trajectory:
    transcript = [
        Block("task", (
            Segment("markup", "<|im_start|>user\n"), Segment("task", "How much is 1 + 2?"),
            Segment("markup", "<|im_end|>\n<think>\n"),
        )),
        Block("model", (
            Segment("thinking", "I add."), Segment("markup", "\n</think>"),
            Segment("call", '{"name": "add"}', "add", {"a": 1, "note": "x\ny"}),
            Segment("call", "{oops", error="malformed_json"), Segment("markup", "<|im_end|>"),
        )),
        Block("tool", (
            Segment("result", "3", "add", seconds=0.25),
            Segment("result", "not JSON", "", error="malformed_json", status="policy_error"),
        )),
        Block("model", (Segment("answer", f"It is {name}."), Segment("markup", "<|im_end|>"))),
    ]  # fmt: skip
    row = Trajectory(
        "math/1", name, 7, [1, 2, 3, 4, 5], 1, [1, 1, 0, 1], [-0.5, -0.25, 0.0, -1.0],
        [Span(0, 1, "task")], Outcome.answered(), 1.0, answer="3", reference="3",
        scores={"accuracy": 1.0}, counts={"ok": 1, "malformed_json": 1}, turns=2, tool_calls=2,
        seconds=PhaseSeconds(1.5, 0.25), tokens={"policy": 3, "tool": 1}, transcript=transcript,
        reasons={"accuracy": ["equal", "", "3"]}, environment="qwq/MathTool-v0",
    )  # fmt: skip
    return replace(row, **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two steps of four episodes, an evaluation, and a lost and a cut episode."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    folder.mkdir()
    (folder / "recipe.yaml").write_text(
        "name: small\ngrpo: {group: 4, steps: 2, reward: environment, trl: {}}\n"
    )
    (folder / "metrics.jsonl").write_text(
        "".join(json.dumps({"step": n, "reward": n / 4, "entropy": 1 - n / 8}) + "\n"
                for n in range(1, 5))
    )  # fmt: skip
    with EpisodeStore(folder / "episodes.jsonl") as store:
        store.append(episode("evaluation.0"), phase="cold")
        for step in range(2):
            for place in range(4):
                store.append(episode(f"{step}-0.0.{place}", reward=place / 4), phase="grpo",
                             step=step)  # fmt: skip
        lost = Outcome.lost("infrastructure", "no server")
        store.append(episode("9-0.0.0", outcome=lost, reward=None), phase="grpo", step=9)
        cut = episode("9-0.0.1", outcome=Outcome.cut("tokens"), reward=0.0, task_id="code/2")
        store.append(cut, phase="grpo", step=9)
    return folder


def shown(capsys, *words) -> list[dict]:
    assert main(["show", *map(str, words), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


CONDITIONS = {
    "--phase cold": ["evaluation.0"],
    "--phase grpo --step 1 --worst 2": ["1-0.0.0", "1-0.0.1"],
    "--step 1 --reward 0.25": ["1-0.0.1"],
    "--step 1 --reward >=0.5": ["1-0.0.2", "1-0.0.3"],
    "--reward none": ["9-0.0.0"],
    "--failure tokens": ["9-0.0.1"],
    "--failure truncated": ["9-0.0.1"],
    "--failure failed": ["9-0.0.0"],
    "--failure malformed_json --step 9": ["9-0.0.0", "9-0.0.1"],
    "--task code/*": ["9-0.0.1"],
    "--text it.IS.1-0.0.3": ["1-0.0.3"],
    "--step 9 --worst 5": ["9-0.0.1"],
}


@pytest.mark.parametrize("words", CONDITIONS)
def test_the_episodes_that_are_asked_for_are_shown(run, capsys, words):
    assert [row["episode"] for row in shown(capsys, run, *words.split())] == CONDITIONS[words]


WITHOUT = """
import sys
class Gone:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {gone!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Gone())
from qwq_env.cli import main
sys.exit(main(sys.argv[1:]))
"""
WHAT_TRAINS = (
    "torch", "transformers", "trl", "accelerate", "datasets", "pyarrow", "matplotlib", "peft",
    "tokenizers", "safetensors", "huggingface_hub", "psutil", "packaging",
)  # fmt: skip


@pytest.mark.parametrize("verb", ["show --json", "show", "view", "watch --once", "export"])
def test_a_run_is_looked_at_without_what_trains(run, tmp_path, verb):
    """Where `pip install qwq-env` was all: neither PyYAML nor anything of the extra `train`."""
    words = {"view": ["--out", "v.html"], "export": ["--format", "inspect"]}.get(verb, [])
    gone = (*WHAT_TRAINS, "yaml")
    name, *options = verb.split()
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(gone=gone), name, str(run), *options, *words],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    if verb != "watch --once":
        assert "PyYAML is not installed" in done.stderr
    if verb == "show --json":
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(rows) == 11 and {row["advantage"] for row in rows} == {None}


def test_a_script_gets_all_that_a_person_sees(run, capsys):
    [row] = shown(capsys, run, "--step", 1, "--worst", 1)
    call = next(segment for segment in row["segments"] if segment["kind"] == "call")

    assert row["reward"] == 0.0
    assert row["advantage"] == pytest.approx(-1.16, abs=0.01)
    assert row["reasons"] == {"accuracy": ["equal", "", "3"]}
    assert (call["name"], call["arguments"]) == ("add", {"a": 1, "note": "x\ny"})
    assert (row["answer"], row["reference"]) == ("3", "3")


def test_a_person_reads_the_episode_in_order(run, capsys):
    assert main(["show", str(run), "--step", "1", "--worst", "1"]) == 0
    text = capsys.readouterr().out
    order = [
        "grpo  step 1  math/1  reward 0 (advantage -1.16)  answered", "accuracy 1: equal",
        "How much is 1 + 2?", "I add.", "call add", "a = 1", "result add, 0.25 s",
        "result malformed_json", "It is 1-0.0.0.",
    ]  # fmt: skip

    assert [text.find(part) for part in order] == sorted(text.find(part) for part in order)
    assert all(part in text for part in order)
    assert "<|im_start|>" not in text
    assert main(["show", str(run), "--step", "1", "--everything"]) == 0
    assert "<|im_start|>" in capsys.readouterr().out


REFUSED = {
    "--step 3": "step: 3; expected one of 0 to 9",
    "--phase gpro": "phase: 'gpro' is not known (did you mean 'grpo'?)",
    "--failure token": "failure: 'token' is not known (did you mean 'tokens'?)",
    "--reward high": "reward: 'high'; expected a number, such as <0.5, or none",
    "--reward 1..5": "reward: '1..5'; expected a number",
    "--text (": "text: '(': ",
    "--worst 0": "worst: 0; expected a whole number of at least 1",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_condition_that_cannot_be_met_is_one_line(run, capsys, words):
    code = main(["show", str(run), *words.split()])

    error = capsys.readouterr().err
    assert code == 2
    assert error.startswith(f"qwq: error: {REFUSED[words]}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("words", ["--text nowhere", "--failure turns", "--failure tool_error"])
def test_none_found_is_said(run, capsys, words):
    assert main(["show", str(run), *words.split()]) == 1
    assert "no episode meets these conditions, of 11 in" in capsys.readouterr().err


def test_a_phase_where_there_are_none(tmp_path, capsys):
    with EpisodeStore(tmp_path / "episodes.jsonl") as store:
        store.append(episode("e0"))
    assert main(["show", str(tmp_path), "--phase", "trained"]) == 2

    assert "phase: 'trained'; no episode has one" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["show", "watch", "export"])
def test_what_is_no_run_is_one_line(tmp_path, capsys, verb):
    (tmp_path / "notes.txt").write_text("x")
    code = main([verb, str(tmp_path), *(["--format", "atif"] if verb == "export" else [])])

    assert code == 2
    assert "holds notes.txt; expected recipe.yaml or episodes.jsonl" in capsys.readouterr().err


def damaged(tmp_path):
    with EpisodeStore(tmp_path / "episodes.jsonl") as store:
        for number in range(3):
            store.append(episode(f"e{number}"))
    lines = (tmp_path / "episodes.jsonl").read_bytes().splitlines(keepends=True)
    torn = lines[1].replace(b'"ids":"i4:', b'"ids":"i4:AAAA')
    (tmp_path / "episodes.jsonl").write_bytes(b"".join([lines[0], b"rubbish\n", torn, lines[2]]))
    return tmp_path


def test_damaged_rows_are_named_and_passed_over(tmp_path, capsys):
    code = main(["show", str(damaged(tmp_path))])

    told = capsys.readouterr()
    assert code == 0
    assert ("It is e0." in told.out, "It is e1." in told.out, "It is e2." in told.out) == (
        True, False, True
    )  # fmt: skip
    assert "episodes.jsonl:2: passed over: not JSON" in told.err
    assert "episodes.jsonl:3: passed over: not an episode: ValueError: a damaged column" in told.err


def hostile(tmp_path):
    words = (Segment("answer", HOSTILE),)
    with EpisodeStore(tmp_path / "episodes.jsonl") as store:
        store.append(
            episode("e0", task_id=HOSTILE, transcript=[Block("model", words)], answer=HOSTILE,
                    outcome=Outcome.lost(HOSTILE, HOSTILE), reference=HOSTILE, reward=None,
                    reasons={HOSTILE: [HOSTILE] * 3}, scores={HOSTILE: None},
                    counts={HOSTILE: 1}),
            phase=HOSTILE,
        )  # fmt: skip
    return tmp_path / "episodes.jsonl"


@pytest.mark.parametrize("words", [["show"], ["show", "--everything"], ["watch"]])
def test_hostile_text_stays_text(tmp_path, capsys, words):
    assert main([words[0], str(hostile(tmp_path)), *words[1:]]) == 0
    text = capsys.readouterr().out

    assert not set(text) & {"\x1b", "\x07", "\u202e", "\r"}
    assert "[red]x" in text or words == ["watch"]
    assert "\\x1b" in text


def on_a_terminal(*words: str, pager: str = "cat", until: bytes = b"") -> bytes:
    """Return what a terminal is sent; interrupted once that holds `until`, if anything."""
    main_end, end = pty.openpty()
    # What starts the tests may have it ignored, as a shell does for what runs in the background.
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"
    code = f"{heard}; import sys; from qwq_env.cli import main; sys.exit(main())"
    environment = {**os.environ, "PAGER": pager, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    with subprocess.Popen([sys.executable, "-c", code, *words], stdout=end, stdin=end,
                          stderr=subprocess.PIPE, env=environment) as process:  # fmt: skip
        os.close(end)
        sent = b""
        try:
            while part := os.read(main_end, 65_536):
                sent += part
                if until and until in sent:
                    process.send_signal(signal.SIGINT)
                    until = b""
        except OSError:  # the terminal's other end is closed
            pass
    os.close(main_end)
    assert process.returncode == 0
    return sent


def test_watch_goes_on_until_it_is_interrupted(run):
    sent = on_a_terminal("watch", str(run), "--every", "0.1", until=b"new episodes")

    assert b"qwq watch" in sent
    assert sent.rstrip().endswith("╯".encode())


def test_on_a_terminal_it_is_in_colour_and_in_the_pager(tmp_path):
    file = str(hostile(tmp_path))
    paged = on_a_terminal("show", file, pager="sed s/^/paged:/")

    assert b"paged:" in paged
    assert b"\x1b[1;32m" in paged
    assert b"\x1b]0" not in paged and b"\x1b[2J" not in paged
    assert "\u202e".encode() not in paged


def test_watch_shows_how_a_run_stands(run, capsys):
    assert main(["watch", str(run)]) == 0
    text = capsys.readouterr().out

    assert "small" in text and "step 4/2" in text
    assert "11 episodes, 1 lost" in text
    assert "▁" in text and "1  (0.25 to 1)" in text
    assert "malformed_json 50%" in text
    assert "infrastructure" in text


def test_watch_shows_steps_that_learn_from_a_batch_again(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text("name: often\ngrpo: {steps: 8}\n")
    rows = [{"step": n, "grad_norm": n, **({} if n % 2 == 0 else {"reward": n / 4})}
            for n in range(1, 5)]  # fmt: skip
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["watch", str(tmp_path)]) == 0
    text = capsys.readouterr().out

    assert "step 4/8" in text
    assert "0.75  (0.25 to 0.75)" in text and "4  (1 to 4)" in text


def test_watch_shows_an_evaluation_without_metrics(tmp_path, capsys):
    (tmp_path / "settings.json").write_text('{"model": "m"}')
    assert main(["watch", str(tmp_path)]) == 0
    assert "0 episodes" in capsys.readouterr().out
    with EpisodeStore(tmp_path / "episodes.jsonl") as store:
        store.append(episode("evaluation.0"))
    assert main(["watch", str(tmp_path), "--once"]) == 0
    assert "1 episodes, 0 lost" in capsys.readouterr().out


def test_a_conversation_has_the_roles_of_chat(run):
    [stored] = StoredRun.open(run).episodes(phase="cold")
    user, first, result, malformed, last = conversation_of(stored.segments)

    assert (user["role"], user["content"]) == ("user", "How much is 1 + 2?")
    assert first["reasoning_content"] == "I add."
    assert [c["function"]["name"] for c in first["tool_calls"]] == ["add", ""]
    assert json.loads(first["tool_calls"][0]["function"]["arguments"]) == {"a": 1, "note": "x\ny"}
    assert first["tool_calls"][1]["error"] == "malformed_json"
    assert (result["tool_call_id"], result["content"]) == (first["tool_calls"][0]["id"], "3")
    assert malformed["error"] == "malformed_json"
    assert last == {"role": "assistant", "content": "It is evaluation.0."}


def test_an_agent_trajectory_has_the_tokens_of_each_turn(run):
    stored = StoredRun.open(run)
    [one] = stored.episodes(phase="cold")
    document = atif_of(one, stored)
    _, first, last = document["steps"]

    assert document["schema_version"] == "ATIF-v1.7"
    assert [step["step_id"] for step in document["steps"]] == [1, 2, 3]
    assert first["metrics"]["completion_token_ids"] == [2, 3]
    assert first["metrics"]["logprobs"] == [-0.5, -0.25]
    assert last["metrics"]["completion_token_ids"] == [5]
    ids = {call["tool_call_id"] for call in first["tool_calls"]}
    assert {r["source_call_id"] for r in first["observation"]["results"]} == ids
    assert document["final_metrics"]["extra"]["reward"] == 1.0


def test_a_log_of_inspect_has_a_sample_an_episode(run, tmp_path, capsys):
    out = tmp_path / "log.json"
    assert main(["export", str(run), "--format", "inspect", "--out", str(out)]) == 0
    log = json.loads(out.read_text())
    samples = log["samples"]
    scores = {
        score["name"]: score["metrics"]["mean"]["value"] for score in log["results"]["scores"]
    }

    assert len(samples) == log["results"]["total_samples"] == 11
    assert log["results"]["completed_samples"] == 10
    assert len({(sample["id"], sample["epoch"]) for sample in samples}) == 11
    assert scores["reward"] == pytest.approx(0.4)
    assert samples[0]["scores"]["accuracy"]["answer"] == "3"
    assert samples[-1]["limit"]["type"] == "token"
    assert samples[-2]["error"]["message"] == "infrastructure: no server"
    said = capsys.readouterr().out
    assert "11 episodes written" in said and "once it is called" in said


@pytest.mark.parametrize("out", [[], ["--out", "."]])
def test_a_log_of_inspect_has_a_name_that_its_viewer_lists(run, tmp_path, monkeypatch, capsys, out):
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(run), "--format", "inspect", *out]) == 0
    [file] = tmp_path.glob("*.json")

    assert re.match(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d_", file.name)
    assert "once it is called" not in capsys.readouterr().out


def test_a_dataset_is_loaded_by_the_library_itself(run, tmp_path, capsys):
    datasets = pytest.importorskip("datasets")
    out = tmp_path / "set"
    assert main(["export", str(run), "--format", "hf", "--out", str(out), "--phase", "cold"]) == 0
    loaded = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"]
    [row] = loaded

    assert row["messages"][0]["content"] == "How much is 1 + 2?"
    assert (row["prompt_ids"], row["completion_ids"]) == ([1], [2, 3, 4, 5])
    assert row["completion_mask"] == [1, 1, 0, 1]
    assert row["logprobs"] == [-0.5, -0.25, 0.0, -1.0]
    assert (row["reward"], row["step"], row["outcome"]) == (1.0, None, "terminated")
    assert "1 episodes" in (out / "README.md").read_text()


@pytest.mark.parametrize("form", ["hf", "inspect", "atif"])
def test_hostile_and_damaged_rows_are_exported_as_far_as_they_go(tmp_path, capsys, form):
    folder = damaged(tmp_path)
    surrogate = episode("e\ud800", answer="\ud800", task_id=HOSTILE)
    with EpisodeStore(folder / "episodes.jsonl") as store:
        store.append(surrogate)
    out = tmp_path / "out"
    assert main(["export", str(folder), "--format", form, "--out", str(out)]) == 0
    told = capsys.readouterr()

    assert out.exists()
    assert "3 episodes written" in told.out
    assert told.err.count("passed over") == 2
    assert [path for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_nothing_is_written_over_and_nothing_half(run, tmp_path, capsys):
    (tmp_path / "there").mkdir()
    there = main(["export", str(run), "--format", "atif", "--out", str(tmp_path / "there")])
    nowhere = main(["export", str(run), "--format", "atif", "--out", str(tmp_path / "a" / "b")])
    none = main(["export", str(run), "--format", "atif", "--out", str(tmp_path / "x"),
                 "--text", "nowhere"])  # fmt: skip

    assert (there, nowhere, none) == (2, 2, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert "exists; expected a new name" in capsys.readouterr().err
