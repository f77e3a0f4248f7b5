"""Removal: whatever a program has nested, shut or linked is gone, and nothing else is."""

import os
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qwq_env.sandbox.jail.removal import remove_tree


def test_deeper_than_any_recursion_or_path(tmp_path):
    here = os.open(".", os.O_RDONLY)
    folder = tmp_path / "deep"
    folder.mkdir()
    os.chdir(folder)
    try:
        for _ in range(1500):
            Path("d" * 20).mkdir()
            Path("beside").mkdir()
            os.chdir("d" * 20)
        Path().chmod(0)
    finally:
        os.fchdir(here)
        os.close(here)
    remove_tree(str(folder))

    assert list(tmp_path.iterdir()) == []


def test_links_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o755)
    (outside / "file").write_text("precious")
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    for link in (folder / "link", folder / "inner" / "link"):
        link.symlink_to(outside)
    (folder / "inner" / "file").hardlink_to(outside / "file")
    remove_tree(str(folder))

    assert not folder.exists()
    assert (outside / "file").read_text() == "precious"
    assert outside.stat().st_mode & 0o777 == 0o755


def test_what_is_not_there_or_no_folder_is_left_alone(tmp_path):
    (tmp_path / "file").write_text("stays")
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("nothing", "file", "link"):
        remove_tree(str(tmp_path / name))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]


trees = st.recursive(
    st.none(),
    lambda inner: st.dictionaries(st.sampled_from(["a", "b", ".c", "d" * 255]), inner, max_size=4),
    max_leaves=20,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=trees, mode=st.sampled_from([0, 0o300, 0o500, 0o700]))
def test_any_tree_goes(tmp_path, tree, mode):
    def build(path, tree):
        if tree is None:
            path.write_text("x")
            return
        path.mkdir()
        for name, inner in tree.items():
            build(path / name, inner)
        path.chmod(mode)

    build(tmp_path / "top", {"inner": tree})
    remove_tree(str(tmp_path / "top"))

    assert list(tmp_path.iterdir()) == []
