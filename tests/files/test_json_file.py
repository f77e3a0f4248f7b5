"""Files of one JSON object, as a run's settings and state are."""

from __future__ import annotations

import pytest

from qwq_env.files.json_file import read_json_file


def test_an_object_is_read(tmp_path):
    (tmp_path / "state.json").write_text('{"step": 3}')

    assert read_json_file(tmp_path / "state.json") == {"step": 3}


@pytest.mark.parametrize(
    "damaged", [b"", b'{"step": 3', b"[1]", b"null", b"\xff{}", b'{"a":' * 100_000, b"[" * 100_000]
)
def test_what_is_damaged_is_none(tmp_path, damaged):
    (tmp_path / "state.json").write_bytes(damaged)

    assert read_json_file(tmp_path / "state.json") is None


def test_a_file_that_is_not_there_is_no_damage(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json_file(tmp_path / "state.json")
