"""Files in one step: whole under their own name or not there, whatever happens in between."""

import os

import pytest

from utils.errors import DiffPoseError
from utils.files import PARTIAL, renamed_when_whole, written_in_one_step


@pytest.mark.parametrize("options", [{}, {"unique": True}, {"durable": True}])
def test_the_name_comes_with_the_whole_content(tmp_path, options):
    path = tmp_path / "made" / "file.txt"
    with renamed_when_whole(path, **options) as partial:
        assert partial.name.endswith(PARTIAL)
        partial.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert [found.name for found in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize("write", [renamed_when_whole, written_in_one_step])
def test_an_interruption_leaves_the_old_file_alone(tmp_path, write):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def interrupted():
        with write(path) as partial:
            partial.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_two_processes_may_make_the_same_file(tmp_path):
    path = tmp_path / "file.txt"
    with renamed_when_whole(path, unique=True) as first, renamed_when_whole(path, unique=True) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_failure_is_one_line_with_reason_and_way_out(tmp_path):
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "below.txt"
    with pytest.raises(DiffPoseError) as caught, written_in_one_step(path, way_out="go elsewhere") as partial:
        partial.write_text("")
    assert str(caught.value) == f"{path}: cannot be written (File exists): go elsewhere"
