"""Rows from a stranger: what is no row is one line with the file and the line, at once."""

from __future__ import annotations

import json
import time

import pytest

from qwq_env.errors import UsageError
from qwq_env.files.jsonl import read_objects

GOOD = b'{"a": 1}\n'


def rows(tmp_path, content: bytes, **options):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    return [row for _, row in read_objects(path, **options)]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (b'{"a": NaN}', "NaN is no JSON value"),
        (b'{"a": [-Infinity]}', "-Infinity is no JSON value"),
        (b'{"a": 1e999}', "the number 1e999 is too large"),
        (b'{"a": -1' + b"0" * 400 + b".5}", "is too large"),
        (b'{"a": 1, "a": 2}', "the key 'a' twice"),
        (b'{"x": [{"b": 1, "\\u0062": 2}]}', "the key 'b' twice"),
        (b'{"a": ' + b"9" * 5000 + b"}", "a number of more than"),
        (b'{"a": ' + b"[" * 500 + b"]" * 500 + b"}", "nested too deeply"),
        (b'{"a": ' + b"[" * 90_000 + b"]" * 90_000 + b"}", "nested too deeply"),
        (b'{"a":' * 101 + b"1" + b"}" * 101, "nested too deeply; expected at most 100 levels"),
        (b'{"a": "\\ud83d"}', "half a surrogate pair"),
        (b'{"\\udc00\\ud800": 1}', "half a surrogate pair"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b'{"a": "\x00"}', "not JSON: Invalid control character"),
        (b"\x00\x00", "not JSON"),
        ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
        (b'{"a": 1} {"b": 2}', "not JSON: Extra data"),
        (b'{"a": 1', "not JSON"),
        (b'"' + b"x" * 1_000_000 + b'"', r"'x+\.\.\.'; expected an object"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value[:20],
)
def test_what_is_no_row_names_its_line(tmp_path, line, told):
    with pytest.raises(UsageError, match=rf"^/.*rows\.jsonl:2: .*{told}") as error:
        rows(tmp_path, GOOD + line + b"\n" + GOOD)

    assert "\n" not in str(error.value)
    assert len(str(error.value)) < len(str(tmp_path)) + 300


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"\xef\xbb\xbf" + GOOD, [{"a": 1}]),
        (b'{"a": 1}\r\n\r\n{"a": 2}\r\n', [{"a": 1}, {"a": 2}]),
        (b'{"a": "\\ud83d\\ude00", "b": "\\u0000"}', [{"a": "😀", "b": "\0"}]),
        (b'{"a": 1e308, "b": "1e999"}', [{"a": 1e308, "b": "1e999"}]),
        (b'{"a": "\\\\ud83d"}', [{"a": "\\ud83d"}]),
        (b'{"a":' * 100 + b"1" + b"}" * 100, None),
        (b'{"a": [' + b"[]," * 5000 + b"[]]}", None),
    ],
)  # fmt: skip
def test_what_only_looks_odd_is_read(tmp_path, content, expected):
    found = rows(tmp_path, content)

    assert found == ([json.loads(content)] if expected is None else expected)


def test_what_python_writes_is_read_where_that_is_asked(tmp_path):
    row = {"logprob": float("-inf"), "reward": 1e308, "text": "\ud83d"}

    assert rows(tmp_path, json.dumps(row).encode(), constants=True) == [row]


def test_a_file_name_that_is_none(tmp_path):
    with pytest.raises(UsageError, match=r"^tasks: .*; expected a JSONL file"):
        list(read_objects(tmp_path / "a\0b", field="tasks"))


def test_megabytes_of_brackets_are_refused_at_once(tmp_path):
    began = time.process_time()
    with pytest.raises(UsageError, match="nested"):
        rows(tmp_path, b'{"a": ' + b"[" * 5_000_000)

    assert time.process_time() - began < 2.0


@pytest.mark.parametrize("half", [b"{", b'{"a": "\xc3', b'{"a": 1}', b'{"a": tru'])
def test_of_a_file_that_is_appended_to_half_a_line_is_passed_over(tmp_path, half):
    whole = [{"a": 1}, *([{"a": 1}] if half == b'{"a": 1}' else [])]

    assert rows(tmp_path, GOOD + half, appended=True) == whole
    with pytest.raises(UsageError, match=r"rows\.jsonl:2"):
        rows(tmp_path, GOOD + b"{\n", appended=True)
