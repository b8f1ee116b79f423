"""Files whose names or kinds lead decoders astray, folders with more than pictures, and disks that fail."""

import os
import resource
import shutil
from pathlib import Path

import pytest

from demo.source import kind_of
from demo.video import Video
from tests.demo.test_inference import film, picture, results
from tests.demo.test_inputs import animation, page_data
from utils.errors import run_script

MEMORY = Path("/proc/self/mem")  # reading its first bytes is an input/output error


def test_a_name_is_no_pattern_and_no_address(demo, tmp_path, monkeypatch):
    """Once: of a%d.png FFmpeg read a1.png and a2.png beside it; 09:30:00.avi was "not an image and not a video"."""
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        picture(tmp_path / f"a{number}.png", 3)
    moving = animation(tmp_path / "made.png", [40, 40, 40])
    for name in ("a%d.png", "100%done/a.png"):
        Path(name).parent.mkdir(exist_ok=True)
        shutil.copy(moving, name)
        assert [image[10, 70, 0] for _, image in Video(name)] == [120, 255, 120], name
    video = film(Path("made.avi"), [1, 2, 1])
    for name in ("09:30:00.avi", "pipe:0.avi", "b%d.avi", "weiß 人 #1.AVI"):
        shutil.copy(video, name)
        assert kind_of(name) == "video"
        assert [image[10, 70, 0] > 200 for _, image in Video(name)] == [False, True, False], name
    code, _, err = demo("--input", "a%d.png")
    assert code == 0, err
    assert [len(frame["people"]) for frame in page_data(tmp_path / "out")["frames"]] == [1, 2, 1]


@pytest.fixture
def decoders_said(tmp_path):
    """decoders_said() -> what was written on the process's own stderr."""
    before, path = os.dup(2), tmp_path / "stderr"
    with path.open("wb") as file:
        os.dup2(file.fileno(), 2)
        yield path.read_text
        os.dup2(before, 2)
        os.close(before)


def test_a_folder_with_more_than_pictures(demo, tmp_path, decoders_said):
    """Once a traceback for the link and for a file that may not be read; of the GIF one frame was taken, unsaid."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    picture(folder / "a.png", 2)
    animation(folder / "b.gif", [40, 40]).with_suffix(".bmp").unlink()
    film(folder / "c.avi", [1, 1]).with_suffix(".png").unlink()
    (folder / "d.jpg").symlink_to("nowhere.jpg")
    os.mkfifo(folder / "e.jpg")
    (folder / "f.webp").write_bytes(b"RIFF\x10\0\0\0WEBPVP8X")
    wanted = ["c.avi (a video: give it by itself)", "d.jpg (a link to nowhere.jpg, which does not exist)"]
    wanted += ["e.jpg (neither a file nor a folder", "only the first frame is taken of b.gif"]
    if MEMORY.exists():
        (folder / "g.jpg").symlink_to(MEMORY)
        wanted.append("g.jpg (cannot be read (Input/output error: the disk or the share fails")
    code, _, err = demo("--input", folder)
    assert code == 0, err
    assert results(tmp_path / "out")[0]["source"].tolist() == ["a.png", "a.png", "b.gif"]
    for words in wanted:
        assert err.count(words) == 1
    assert not decoders_said(), "decoders keep their own complaints to themselves"


@pytest.mark.skipif(not MEMORY.exists(), reason="needs a file whose reading fails")
def test_a_picture_on_a_disk_that_fails(demo, tmp_path):
    (tmp_path / "a.jpg").symlink_to(MEMORY)
    code, _, err = demo("--input", tmp_path / "a.jpg")
    assert code == 2
    assert "a.jpg: cannot be read (Input/output error: the disk or the share fails" in err
    assert "empty" not in err


@pytest.mark.parametrize(("hypotheses", "named"), [(6, "a_poses.png"), (600, "out")])
def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(demo, tmp_path, hypotheses, named):
    """Once a traceback from the file of the hypotheses, and a picture cut off."""
    path = picture(tmp_path / "a.png")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**13, limits[1]))
    try:
        code, _, err = demo("--input", path, "--num_hypotheses", hypotheses)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert f"{named}: cannot be written (File too large): free some space" in line
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("number", [13, 28, 5])
def test_no_script_ends_in_a_traceback_for_a_fault_of_the_machine(capsys, number):
    """Once a traceback wherever no reader or writer expected it."""

    def main():
        raise OSError(number, os.strerror(number), "/share/file")

    with pytest.raises(SystemExit, match="2"):
        run_script(main)
    assert capsys.readouterr().err.startswith(f"error: /share/file: {os.strerror(number)}: ")
    with pytest.raises(FileNotFoundError):  # a fault of ours
        run_script(Path("/nowhere/at/all").read_text)
