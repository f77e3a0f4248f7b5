"""The scratch folder: emptied after whoever wrote to it, even where the clock is coarse."""

import os
from pathlib import Path

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
        (folder / "shut" / "deep").mkdir(parents=True)
        (folder / "shut" / "file").touch()
        (folder / "shut").chmod(0)
        folder.chmod(0o500)

        assert place.wipe()
        assert list(folder.iterdir()) == []
        assert folder.stat().st_mode & 0o777 == 0o700


def mark(folder):
    os.utime(folder, ns=(5, 7))


@pytest.mark.parametrize("leave", [mark, os.listdir, Path.touch], ids=["mark", "read", "touch"])
def test_the_times_of_the_folder_are_no_letter_box(folder, leave, monkeypatch):
    monkeypatch.setattr(scratch, "_TICK", 0)
    place = Scratch(str(folder))
    before = folder.stat()
    for _ in range(2):
        leave(folder)

        assert place.wipe()
        after = folder.stat()
        assert (after.st_atime_ns, after.st_mtime_ns) == (before.st_atime_ns, before.st_mtime_ns)


@pytest.mark.parametrize("inside", ["", "folder"])
def test_what_takes_longer_than_a_new_slot_ends_the_slot(folder, inside):
    place = Scratch(str(folder))
    (folder / inside).mkdir(exist_ok=True)
    for number in range(600):
        (folder / inside / str(number)).touch()

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
