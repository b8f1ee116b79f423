"""Raw data sets and the detector's weights for the tests of preprocessing, made once."""

import numpy as np
import pytest

from tests.support.processes import ForkedScript, Setting
from tests.support.raw_data import add_3dhp, add_3dpw, add_h36m, save_weights, touch_h36m
from tests.support.ski_pose import add_skipose

CAM = "54138969"
# Fewer channels and blocks: what the scripts do with heatmaps does not depend on the detector's size, the time does.
SMALL_HRNET = {"models.hrnet.network.WIDTHS": (8, 16, 32, 64), "models.hrnet.network._BLOCKS_PER_BRANCH": 1}
# Raw stem -> frames; the list's subjects have both takes of the actions whose raw numbers are odd ones.
H36M = {
    "S1": {f"Walking 1.{CAM}": 9, f"TakingPhoto.{CAM}": 4},
    "S5": {f"Waiting 2.{CAM}": 4},
    "S6": {f"Posing 2.{CAM}": 4},
    "S7": {f"WalkingDog.{CAM}": 4},
    "S8": {f"Directions.{CAM}": 4},
    "S9": {
        f"{stem}.{CAM}": 4
        for stem in (
            "Discussion 1",
            "Discussion 2",
            "Greeting",
            "Greeting 1",
            "Phoning",
            "Phoning 1",
            "Smoking",
            "Smoking 1",
        )
    },
    "S11": {
        f"{stem}.{CAM}": 4
        for stem in (
            "Discussion 1",
            "Discussion 2",
            "Greeting",
            "Greeting 2",
            "Phoning 2",
            "Phoning 3",
            "Smoking",
            "Smoking 2",
        )
    },
}

# The list names takes by the default rule, whatever the raw files' numbers are.
HARD_LINES = [
    f"/{subject}/{action}{take}.{CAM}/4.jpg"
    for subject in ("S9", "S11")
    for action in ("Discussion", "Greeting", "Phoning", "Smoking")
    for take in ("", " 1")
]


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    """A folder with weights.pt and the raw data sets h36m, 3dhp, 3dpw and skipose; .h36m ..: what was written."""
    folder = tmp_path_factory.mktemp("raw")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SMALL_HRNET.items():
            patch.setattr(name, value)
        save_weights(folder / "weights.pt")
    written = {"folder": folder, "h36m": {}, "3dhp": {}, "3dpw": {}, "skipose": {}}
    for subject, stems in H36M.items():
        for stem, frames in stems.items():
            written["h36m"][subject, stem] = add_h36m(folder / "h36m", subject, stem, frames=frames)
    touch_h36m(folder / "h36m", "S5", "Waiting 1.55011271")
    touch_h36m(folder / "h36m", "S11", f"Directions.{CAM}")
    for number in range(1, 7):
        valid, name = ([1, 0, 1] if number == 2 else [0, 1]), f"TS{number}"
        written["3dhp"][name] = add_3dhp(folder / "3dhp", name, valid=valid)
    written["3dpw"]["two"] = add_3dpw(folder / "3dpw", "train", "downtown_walking_00", seen=[[1, 1, 0], [0, 1, 0]])
    written["3dpw"]["unseen"] = add_3dpw(folder / "3dpw", "train", "courtyard_basketball_00", seen=[[0, 0]])
    written["3dpw"]["test"] = add_3dpw(folder / "3dpw", "test", "courtyard_basketball_01", seen=[[1, 1]])
    written["skipose"]["train"] = add_skipose(folder / "skipose", "train", [(1, 0, 0, 2), (1, 0, 0, 1), (1, 0, 1, 2)])
    written["skipose"]["test"] = add_skipose(folder / "skipose", "test", [(6, 4, 0, 1), (6, 4, 0, 3)])
    return written


@pytest.fixture(scope="session")
def preprocess(raw, tmp_path_factory):
    """preprocess('H36M', output_dir, *arguments, wait=True) runs the real script on the raw data.

    It returns the exit code and the output, or without ``wait`` the :class:`ForkedScript`.
    """
    logs = tmp_path_factory.mktemp("logs")

    def run(name, output, *arguments, wait=True, file_limit=None, folder=None):
        data = raw["folder"] / name.lower()
        given = ["--input_dir", data, "--output_dir", output, "--weights", raw["folder"] / "weights.pt"]
        script = f"data/preprocessing/{name}.py"
        setting = Setting(file_limit=file_limit, folder=folder, replaced=SMALL_HRNET)
        run = ForkedScript(script, *given, "--device", "cpu", *arguments, logs=logs, setting=setting)
        if not wait:
            return run
        code, out, err = run.wait()
        return code, out + err

    return run


@pytest.fixture(scope="session")
def finished(preprocess, tmp_path_factory):
    """finished('H36M') -> (the file of an uninterrupted run, its output), made once; H36M with the list of hard frames.

    The list holds a line for every row of the test subjects.
    """
    made = {}
    hard = tmp_path_factory.mktemp("hard") / "list.txt"
    hard.write_text("".join(f"{line}\n" for line in HARD_LINES))

    def make(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(f"finished_{name}")
            code, log = preprocess(name, folder, *(("--hard_subset", hard) if name == "H36M" else ()))
            assert code == 0, log
            assert [path.suffix for path in folder.iterdir()] == [".h5"], "nothing but the file is left"
            made[name] = next(folder.iterdir()), log
        return made[name]

    return make


def _contents(file):
    found = {}

    def visit(name, item):
        found.update({f"{name}@{key}": value for key, value in item.attrs.items()})
        if hasattr(item, "shape"):
            found[name] = item[()]

    file.visititems(visit)
    return found


@pytest.fixture(scope="session")
def same_contents():
    """Asserts that two HDF5 files have equal data sets and attributes."""
    import h5py

    def compare(path, other):
        with h5py.File(path, locking=False) as a, h5py.File(other, locking=False) as b:
            ours, theirs = _contents(a), _contents(b)
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            np.testing.assert_array_equal(value, theirs[name], err_msg=name)

    return compare
