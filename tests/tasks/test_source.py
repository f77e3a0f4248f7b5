"""What `tasks=` may be, and what each wrong thing is answered with."""

from pathlib import Path

import pytest
from datasets import Dataset

from qwq_env.envs.general import GeneralEnv
from qwq_env.envs.math import MathToolEnv
from qwq_env.errors import UsageError

ROW = '{"prompt": "1+1?", "answer": "2", "instruction_id_list": ["punctuation:no_comma"]}'


@pytest.mark.parametrize("tasks", [None, "", " ", 5, ["x"], "gsm8k", "a/b/c", "./org/name", Path()])
@pytest.mark.parametrize("environment", [MathToolEnv, GeneralEnv])
def test_what_names_no_tasks(environment, tasks, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"^tasks: .*; expected '.*a TaskSet$") as error:
        environment(tasks=tasks)

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["rows.txt", "data/rows.txt", "data/rows.jsonl", "rows.parquet"])
@pytest.mark.parametrize("environment", [MathToolEnv, GeneralEnv])
def test_a_file_that_is_not_there_is_no_dataset(environment, name):
    with pytest.raises(UsageError, match=rf"^tasks: {name}: No such file"):
        environment(tasks=name)


def test_a_folder_without_data_is_named(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(UsageError, match="is a folder without data files; expected"):
        MathToolEnv(tasks=tmp_path)


def test_a_dataset_of_the_hub_s_layout_is_read_by_split(tmp_path):
    for split, answer in (("train", "1"), ("test", "4")):
        rows = [{"question": "2+2?", "answer": f"Add them.\n#### {answer}"}]
        Dataset.from_list(rows).to_parquet(tmp_path / "main" / f"{split}-00000-of-00001.parquet")
    env = MathToolEnv(tasks=tmp_path, split="test")

    assert [task.answer for task in env.tasks] == ["4"]


def test_a_folder_of_lines_is_read_by_split(tmp_path):
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(ROW.replace("1+1?", split) + "\n")
    env = MathToolEnv(tasks=tmp_path, split="test")

    assert env.tasks.task(0).prompt.startswith("test")
    with pytest.raises(UsageError, match=r"test.jsonl, train.jsonl; expected one dev.jsonl"):
        MathToolEnv(tasks=tmp_path, split="dev")


def test_a_folder_of_hostile_lines_is_refused(tmp_path):
    (tmp_path / "train.jsonl").write_text('{"prompt": ' + "[" * 100_000)
    with pytest.raises(UsageError, match=r"train.jsonl:1: not JSON .*nested too deeply"):
        MathToolEnv(tasks=tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"[\n{ROW}\n]", "1: not JSON lines but a JSON array; expected an object a line"),
        (f"[{ROW}]", "1: a JSON array; expected an object a line"),
        (f"{ROW}\n3\n", "2: 3; expected an object a line"),
        (f'{ROW}\n{{"prompt": "x", "answer": {"9" * 5000}}}\n', "2: a number of more than"),
        ("[" * 100_000, "1: not JSON that can be read: nested too deeply"),
    ],
)
@pytest.mark.parametrize("environment", [MathToolEnv, GeneralEnv])
def test_a_file_that_is_no_jsonl(tmp_path, environment, text, words):
    file = tmp_path / "rows.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=rf"rows\.json:{words}") as error:
        environment(tasks=file)

    assert "\n" not in str(error.value)


@pytest.mark.parametrize("environment", [MathToolEnv, GeneralEnv])
def test_any_file_of_rows_is_read(tmp_path, environment):
    file = tmp_path / "rows.txt"
    file.write_text(f"{ROW}\n")

    assert environment(tasks=file).tasks.task(0).prompt.startswith("1+1?")
