"""The scratch folder: emptied after whoever wrote to it, even where the clock is coarse."""

import os

import pytest

from qwq_env.sandbox.jail import scratch
from qwq_env.sandbox.jail.scratch import Scratch


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "scratch"
    folder.mkdir(mode=0o700)
    return folder


def test_what_is_easily_unlinked_is_unlinked(folder):
    place = Scratch(str(folder))
    for _ in range(3):
        (folder / "file").write_text("left")
        (folder / "link").symlink_to("/")
        folder.chmod(0o500)

        assert place.wipe()
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("leave", ["a folder", "many files"])
def test_what_is_not_ends_the_slot(folder, leave):
    place = Scratch(str(folder))
    if leave == "a folder":
        (folder / "inner").mkdir()
    else:
        for number in range(100):
            (folder / str(number)).touch()

    assert not place.wipe()


def test_a_change_within_a_tick_of_the_last_is_noticed(folder, monkeypatch):
    monkeypatch.setattr(scratch, "_changed", lambda folder: 0)
    monkeypatch.setattr(scratch, "_TICK", 3600)
    place = Scratch(str(folder))
    for _ in range(3):
        (folder / "file").write_text("left")

        assert place.wipe()
        assert list(folder.iterdir()) == []
        assert place.wipe()


def test_where_nothing_changes_nobody_lists_the_folder(folder, monkeypatch):
    monkeypatch.setattr(scratch, "_TICK", 0)
    place = Scratch(str(folder))
    place.wipe()
    monkeypatch.setattr(os, "listdir", None)

    assert place.wipe()
    assert place.wipe()
