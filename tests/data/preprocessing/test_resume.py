"""Stopped at any moment and run again: the same file as without a stop, and its name only when it is whole."""

import contextlib
import os
import signal
import time

import h5py
import numpy as np
import pytest

OPTIONS = {"H36M": ("--subjects", "S1", "S7", "S8"), "3DHP": (), "3DPW": (), "SkiPose": ()}


def unfinished(folder):
    """Asserts that whatever a stopped run left under a final name can be opened and is whole."""
    rows = {}
    for path in folder.rglob("*.h5"):
        with h5py.File(path, locking=False) as file:
            for split in ("trainset", "testset"):
                if split in file["dataset"]:
                    counts = {len(column) for column in file["dataset"][split].values()}
                    assert len(counts) == 1
                    rows[path.name] = file["dataset"][split]["heatmap"][()].shape[0]
    return rows


@pytest.fixture(scope="module")
def whole(preprocess, finished, tmp_path_factory):
    """whole('H36M') -> (file, seconds) of an uninterrupted run with OPTIONS."""
    made = {}

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(f"whole_{name}")
            start = time.monotonic()
            code, log = preprocess(name, folder, *OPTIONS[name])
            assert code == 0, log
            made[name] = next(folder.glob("*.h5")), time.monotonic() - start
        return made[name]

    return make


def stop_and_rerun(name, number, kills, preprocess, whole, folder, same_contents):
    expected, seconds = whole(name)
    rng = np.random.default_rng([number, *name.encode()])
    for _ in range(kills):
        run = preprocess(name, folder, *OPTIONS[name], wait=False)
        time.sleep(rng.uniform(0.05, 1.0) * seconds)
        run.process.kill()
        run.wait()
        unfinished(folder)
        if (folder / expected.name).exists():
            same_contents(folder / expected.name, expected)
    code, log = preprocess(name, folder, *OPTIONS[name])
    assert code == 0, log
    same_contents(folder / expected.name, expected)
    assert [path.name for path in folder.iterdir()] == [expected.name]


@pytest.mark.parametrize("name", OPTIONS)
def test_killed_at_random_moments_the_rerun_ends_equal(name, preprocess, whole, tmp_path, same_contents):
    stop_and_rerun(name, 0, 3, preprocess, whole, tmp_path, same_contents)


def test_parts_that_a_run_had_no_time_to_delete_go_with_the_next(preprocess, whole, tmp_path):
    """A run is killed when its file is in place and its recordings are not deleted yet."""
    expected, _ = whole("3DHP")
    run = preprocess("3DHP", tmp_path, wait=False)
    parts = tmp_path / f"{expected.name}.parts"
    settings, names = "", set()
    while run.process.is_alive():
        with contextlib.suppress(OSError):
            settings = settings or (parts / "settings.json").read_text()
            names |= {path.name for path in parts.glob("*.h5")}
        time.sleep(0.001)
    run.wait()
    assert settings
    assert names
    parts.mkdir()
    (parts / "settings.json").write_text(settings)
    (parts / names.pop()).write_bytes(b"")
    code, log = preprocess("3DHP", tmp_path)
    assert code == 0, log
    assert "is already there" in log
    assert [path.name for path in tmp_path.iterdir()] == [expected.name]


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 6))
@pytest.mark.parametrize("name", OPTIONS)
def test_killed_at_many_random_moments(name, number, preprocess, whole, tmp_path, same_contents):
    """Twice in each of five runs."""
    stop_and_rerun(name, number, 2, preprocess, whole, tmp_path, same_contents)


@pytest.fixture
def heeding_interrupts():
    """A shell's background jobs start with SIGINT ignored; the processes that a test starts should heed it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeding_interrupts")
def test_an_interruption_keeps_finished_recordings_and_says_so(preprocess, whole, tmp_path, same_contents):
    expected, _ = whole("H36M")
    parts = tmp_path / f"{expected.name}.parts"
    for _ in range(10):  # on a quick or a busy machine the whole run may be over before the signal is there
        run = preprocess("H36M", tmp_path, *OPTIONS["H36M"], wait=False)
        with contextlib.suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, run.process.pid, 19)
        while run.process.is_alive():  # it stands still while it is looked at, so that it can't end meanwhile
            os.kill(run.process.pid, signal.SIGSTOP)
            if list(parts.glob("*.h5")):
                break
            os.kill(run.process.pid, signal.SIGCONT)
            time.sleep(0.001)
        with contextlib.suppress(ProcessLookupError):
            os.kill(run.process.pid, signal.SIGINT)
            os.kill(run.process.pid, signal.SIGCONT)
        code, out, err = run.wait()
        if code:
            break
        (tmp_path / expected.name).unlink()
    assert code == 130
    assert "interrupted" in err
    assert "Traceback" not in out + err
    kept = unfinished(tmp_path)
    assert 1 <= len(kept) < 4
    assert not list(tmp_path.rglob("*.partial"))
    assert not (tmp_path / expected.name).exists()
    times = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.h5")}

    code, log = preprocess("H36M", tmp_path, *OPTIONS["H36M"], "--precision", "bfloat16")
    assert code == 2
    assert "made with another --precision" in log
    assert {path.name: path.stat().st_mtime_ns for path in parts.glob("*.h5")} == times

    code, log = preprocess("H36M", tmp_path, *OPTIONS["H36M"])
    assert code == 0, log
    assert f"{len(kept)} of 4 recordings are finished already" in log
    same_contents(tmp_path / expected.name, expected)


def test_a_full_disk_is_one_line_and_the_rerun_ends_equal(preprocess, whole, tmp_path, same_contents):
    expected, _ = whole("3DPW")
    for limit in (300_000, 700_000):  # bytes a file: within the first recording, and while assembling
        code, log = preprocess("3DPW", tmp_path, file_limit=limit)
        assert code == 2, log
        last = log.strip().splitlines()[-1]
        assert last.startswith("error: ")
        assert "cannot be written" in last
        assert "Traceback" not in log
        assert not (tmp_path / expected.name).exists()
        unfinished(tmp_path)
    code, log = preprocess("3DPW", tmp_path)
    assert code == 0, log
    same_contents(tmp_path / expected.name, expected)


def test_two_runs_at_once_keep_out_of_each_others_way(preprocess, whole, tmp_path):
    expected, _ = whole("3DHP")
    parts = tmp_path / f"{expected.name}.parts"
    first = preprocess("3DHP", tmp_path, wait=False)
    while not (parts / "settings.json").exists() and first.process.is_alive():
        time.sleep(0.02)
    os.kill(first.process.pid, signal.SIGSTOP)
    try:
        from data.preprocessing.conversion.parts import PartFolder
        from utils.errors import DiffPoseError

        folder = PartFolder(tmp_path / expected.name, dataset="3dhp", settings={}, heatmap_compression=None, level=0)
        with pytest.raises(DiffPoseError, match="another run is making it"):
            folder.__enter__()
    finally:
        first.process.kill()
        first.wait()


def test_a_changed_raw_file_is_read_again(preprocess, raw, tmp_path):
    from data.preprocessing.conversion.parts import PartFolder
    from data.preprocessing.threedhp.source import ThreeDHP

    (recording, *_) = ThreeDHP().recordings(raw["folder"] / "3dhp", ["TS1"])
    with PartFolder(tmp_path / "f.h5", dataset="3dhp", settings={}, heatmap_compression="gzip", level=1) as parts:
        frames = recording.load()
        rows = {
            **frames.columns,
            "hardsubset": [1],
            "argmax_2d": np.zeros((1, 32)),
            "heatmap": np.ones((1, 16, 64, 64)),
        }
        with parts.writer(recording) as writer:
            writer.append("testset", rows)
        assert parts.is_done(recording)
        with recording.inputs[0].open("ab") as file:
            file.write(b"more")
        assert not parts.is_done(recording)
        recording.inputs[0].write_bytes(recording.inputs[0].read_bytes()[:-4])
        assert parts.is_done(recording)
        parts.path(recording).write_bytes(b"damaged")
        assert not parts.is_done(recording)
