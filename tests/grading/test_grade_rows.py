"""`qwq grade`: a row that cannot be used is told, with file and line, in every kind the same."""

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
def test_strictly_a_malformed_row_is_named_and_nothing_is_written(
    tmp_path, capsys, kind, change, words
):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps(GOOD[kind]) + "\n\n" + json.dumps({**GOOD[kind], **change}) + "\n")
    code = main(["grade", kind, str(source), "--out", str(out), "--strict"])

    error = capsys.readouterr().err
    assert code == 2
    assert f"{source}:3: " in error and words in error and error.count("\n") == 1
    assert not out.exists()


FIRST_BAD = {kind: (kind, change, words) for kind, change, words in reversed(BAD)}


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [*FIRST_BAD.values(), ("instructions", {"kwargs": [{}, {"nth_paragraph": None}]}, "num_words")],
    ids=repr,
)
def test_a_malformed_row_is_passed_over_and_the_others_are_graded(
    tmp_path, capsys, kind, change, words
):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows = [
        json.dumps(GOOD[kind]),
        "{",
        json.dumps({**GOOD[kind], **change}),
        json.dumps(GOOD[kind]),
    ]
    source.write_text("\n".join(rows) + "\n")
    code = main(["grade", kind, str(source), "--out", str(out)])

    printed = capsys.readouterr()
    scored = [json.loads(line) for line in out.read_text().splitlines()]
    assert code == 0
    assert f"{source}:2: not JSON" in printed.err and f"{source}:3: " in printed.err
    assert "unusable   2" in printed.out
    assert [row["score"] for row in scored] == [1.0, None, None, 1.0]
    assert scored[2]["reason"].startswith("unusable: ") and words in scored[2]["reason"]
    assert {**GOOD[kind], **change}.items() <= scored[2].items()


def test_numbers_may_stand_on_either_side(tmp_path):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    rows = [{"gold": 5, "answer": 5.0}, {"gold": "1/2", "answer": 0.5}, {"gold": 5, "answer": 6}]
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))

    assert main(["grade", "math", str(source), "--out", str(out)]) == 0
    assert [json.loads(line)["score"] for line in out.read_text().splitlines()] == [1.0, 1.0, 0.0]


def test_a_row_whose_tests_turn_out_not_to_run_is_passed_over_too(tmp_path, capsys):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    bad = {"test_list": ["import no_such\nassert f(1)"], "response": GOOD["code"]["response"]}
    source.write_text(json.dumps(GOOD["code"]) + "\n" + json.dumps(bad) + "\n")

    assert main(["grade", "code", str(source), "--out", str(out)]) == 0
    assert f"{source}:2: tests: ModuleNotFoundError" in capsys.readouterr().err
    assert json.loads(out.read_text().splitlines()[1])["reason"].startswith("unusable: tests")
    options = ["--out", str(tmp_path / "other"), "--strict"]
    assert main(["grade", "code", str(source), *options]) == 2
    assert (tmp_path / "other").read_bytes() == b""


def test_a_file_in_which_no_row_can_be_used_is_refused(tmp_path, capsys):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"gold": "1"}\n{"gold": 2, "kind": "x"}\n')

    assert main(["grade", "math", str(source), "--out", str(out)]) == 2
    assert f"no row can be used; {source}:1: answer" in capsys.readouterr().err
    assert not out.exists()


def test_what_a_foreign_file_says_does_not_reach_the_terminal_raw(tmp_path, capsys):
    source, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    bad = {"gold": "1", "answer": "1", "kind": "\x1b]0;owned\x07"}
    source.write_text("".join(json.dumps(row) + "\n" for row in (GOOD["math"], *([bad] * 12))))

    assert main(["grade", "math", str(source), "--out", str(out)]) == 0
    error = capsys.readouterr().err
    assert "\x1b" not in error and "\x07" not in error
    assert "passed over: 2 more" in error and error.count("\n") == 11


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
