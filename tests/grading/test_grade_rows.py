"""`qwq grade`: each kind refuses malformed rows, with file and line, before anything is graded."""

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwq_env.cli import main
from qwq_env.errors import UsageError
from qwq_env.grading.batch import load_grader

GOOD = {
    "math": {"gold": "1/2", "answer": "0.5", "kind": "answer"},
    "code": {
        "tests": [{"function": "double", "arguments": [2], "expected": 4}],
        "response": "```python\ndef double(x):\n    return 2 * x\n```",
    },
    "instructions": {
        "prompt": "Write.",
        "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
        "kwargs": [{}, {"num_words": 5, "relation": "at least"}],
        "response": "No comma here at all.",
    },
    "calls": {
        "function": [
            {"name": "f", "parameters": {"properties": {"n": {"type": "integer"}}, "required": []}}
        ],
        "ground_truth": [{"f": {"n": [3]}}],
        "response": "[f(n=3)]",
    },
}
BAD = [
    ("math", {"kind": ["answer"]}, "kind"),
    ("code", {"response": None}, "response"),
    ("code", {"tests": None}, "expected tests"),
    ("code", {"tests": []}, "tests"),
    ("code", {"tests": [{"function": 3, "arguments": [], "expected": 1}]}, "function 3"),
    ("code", {"tests": [{"function": "f", "arguments": []}]}, "published form"),
    ("code", {"tests": [5]}, "published form"),
    ("code", {"input_output": "{}", "tests": None}, "published form"),
    ("code", {"reward_model": 5, "tests": None}, "published form"),
    ("code", {"public_test_cases": '[{"input": 1}]', "tests": None}, "published form"),
    ("instructions", {"response": 5}, "response"),
    ("instructions", {"prompt": None}, "prompt"),
    ("instructions", {"kwargs": [{}]}, "kwargs"),
    ("instructions", {"kwargs": [{}, {"relation": "at least"}]}, "num_words"),
    ("instructions", {"instruction_id_list": ["punctuation:no_coma", "x"]}, "did you mean"),
    ("instructions", {"instruction_id_list": [5, []]}, "instruction_id_list"),
    ("calls", {"response": None}, "response"),
    ("calls", {"function": None}, "function"),
    ("calls", {"ground_truth": [{"g": {}}]}, "no function document"),
    ("calls", {"ground_truth": "f()"}, "ground_truth"),
    ("calls", {"language": "cobol"}, "language"),
    ("calls", {"function": [{"name": "f", "parameters": {"properties": {"n": {}}}}]}, "document"),
    ("calls", {"involved_classes": [[]]}, "involved_classes"),
    ("calls", {"involved_classes": [], "ground_truth": [5]}, "turns"),
]


@pytest.mark.parametrize(("kind", "change", "words"), BAD, ids=repr)
def test_a_malformed_row_is_named_and_nothing_is_written(tmp_path, capsys, kind, change, words):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps(GOOD[kind]) + "\n\n" + json.dumps({**GOOD[kind], **change}) + "\n")
    code = main(["grade", kind, str(source), "--out", str(out)])

    error = capsys.readouterr().err
    assert code == 2
    assert f"{source}:3: " in error and words in error and error.count("\n") == 1
    assert not out.exists()


def places(value, path=()):
    """The paths to all parts of a row."""
    yield path
    inner = dict(enumerate(value)) if isinstance(value, list) else value
    for key, item in inner.items() if isinstance(inner, dict) else ():
        yield from places(item, (*path, key))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@pytest.mark.parametrize("kind", sorted(GOOD))
@given(data=st.data())
def test_whatever_stands_in_a_row_is_checked_or_refused(kind, data):
    row = copy.deepcopy(GOOD[kind])
    *way, last = data.draw(st.sampled_from([path for path in places(row) if path]))
    part = row
    for key in way:
        part = part[key]
    part[last] = data.draw(ANYTHING)
    try:
        load_grader(kind).check(row)
    except UsageError as error:
        assert "\n" not in str(error)


@pytest.mark.parametrize("kind", sorted(GOOD))
def test_a_good_row_is_graded(tmp_path, kind):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps(GOOD[kind]) + "\n")

    load_grader(kind).check(GOOD[kind])
    if kind != "code":  # its sandbox is tested with the code grader
        assert main(["grade", kind, str(source), "--out", str(out)]) == 0
        assert json.loads(out.read_text())["score"] == 1.0


def test_a_file_without_rows_and_an_output_that_cannot_be(tmp_path, capsys):
    empty, source = tmp_path / "empty.jsonl", tmp_path / "rows.jsonl"
    empty.write_text("\n \n")
    source.write_text(json.dumps(GOOD["math"]) + "\n")
    for file, out, words in (
        (empty, tmp_path / "out", "no rows"),
        (source, tmp_path, "expected a file"),
        (source, tmp_path / "none" / "out", "expected a file"),
        (source, source, "another one"),
    ):
        assert main(["grade", "math", str(file), "--out", str(out), "--resume"]) == 2
        assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
