"""The page that is committed is what its sources build."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import qwq_env.viewer

VIEWER = Path(qwq_env.viewer.__file__).parent
SOURCES = VIEWER / "page"


def _run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    # What npm has at hand is enough or it is not: a test asks no registry.
    offline = {**os.environ, "npm_config_offline": "true", "npm_config_update_notifier": "false"}
    return subprocess.run(
        command, cwd=cwd, env=offline, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    if not SOURCES.is_dir():
        pytest.skip("the page's sources are not in this installation")
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("no node and npm")
    if (SOURCES / "node_modules").is_dir():
        return SOURCES
    copy = tmp_path_factory.mktemp("build") / "page"
    shutil.copytree(SOURCES, copy)
    installed = _run("npm", "ci", "--no-audit", "--no-fund", cwd=copy)
    if installed.returncode:
        pytest.skip("npm ci: the packages are not in npm's cache")
    return copy


def test_the_committed_page_is_what_the_sources_build(sources, tmp_path):
    built = tmp_path / "page.html"
    done = _run("node", "build.mjs", str(built), cwd=sources)

    assert done.returncode == 0, done.stderr
    assert built.read_bytes() == (VIEWER / "page.html").read_bytes()
