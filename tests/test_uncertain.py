"""experiments/uncertain.py: which frames come first, by width, spread and error, and the contact sheet of them."""

import sys

import cv2
import h5py
import numpy as np
import pytest

from experiments import uncertain
from tests.support.hdf5_files import make_columns, write_columnar
from utils.errors import run_script
from utils.evaluation.predictions import PredictionWriter
from utils.skeleton import H36M17, H36M_JOINTS, MPII_JOINTS

ROWS, HYPOTHESES = 8, 40
WIDTHS = np.array([1.0, 3.0, 2.0, 1.5, 2.5, 1.2, 1.1, 1.3])
SPREADS_MM = np.array([30.0, 10.0, 20.0, 80.0, 40.0, 15.0, 60.0, 50.0])
ERRORS_MM = np.array([5.0, 90.0, 10.0, 20.0, 40.0, 60.0, 0.0, 70.0])


@pytest.fixture
def data(tmp_path):
    """A file whose row n has maps of WIDTHS[n] cells, but its left wrist's, which is wider by half."""
    columns = make_columns("h36m", ROWS)
    columns["gt_3d"] = np.random.default_rng(0).uniform(-500, 500, (ROWS, 3, 17)).astype(np.float32)
    columns["frame_orig"], columns["subject"] = np.arange(100, 100 + ROWS).astype(np.int32), np.array([b"S9"] * ROWS)
    grid = np.arange(64) - 31.0
    width = np.repeat(WIDTHS[:, None], 16, axis=1)
    width[:, MPII_JOINTS.index("LWrist")] *= 1.5
    maps = np.exp(-0.5 * (grid[:, None] ** 2 + grid**2) / width[:, :, None, None] ** 2)
    columns["heatmap"] = maps.astype(np.float16)
    write_columnar(tmp_path / "data.h5", "h36m", {"testset": columns})
    return tmp_path / "data.h5"


@pytest.fixture
def predictions(data, tmp_path):
    """Of every row: hypotheses of the given spread around a pose that is off by the given error; the head is surest."""
    from data.pose_dataset import PoseDataset

    rows, truth = PoseDataset(data, split="test", show_progress=False).truth()
    noise = np.random.default_rng(1).normal(size=(ROWS, HYPOTHESES, 17, 3))
    noise = (noise - noise.mean(axis=1, keepdims=True)) * SPREADS_MM[:, None, None, None]
    noise[:, :, H36M_JOINTS.index("RWrist")] *= 2
    noise[:, :, 0] = 0
    away = np.zeros((ROWS, 1, 17, 3))
    away[:, 0, 1:, 1] = ERRORS_MM[:, None]
    (tmp_path / "run").mkdir()
    path = tmp_path / "run" / "predictions_full.h5"
    order = np.random.default_rng(2).permutation(ROWS)  # files of others are in any order
    with PredictionWriter(path, skeleton=H36M17, attrs={"dataset_file": str(data), "split": "full"}) as writer:
        poses = (truth[:, None] + away + noise)[order]
        writer.append({"row": rows[order], "hypotheses_mm": poses.astype(np.float32)})
    return path


@pytest.fixture
def run(monkeypatch, capsys):
    """run(*arguments) -> (exit code, table without its head as lists of cells, stderr)."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["uncertain.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            run_script(uncertain.main)
        out = capsys.readouterr()
        table = [line.strip("| ").split(" | ") for line in out.out.splitlines() if line.startswith("|")]
        return int(stop.value.code or 0), table[2:], out.err

    return call


def test_the_widest_heatmaps_come_first(data, run):
    code, table, err = run(data, "--count", 3)
    assert code == 0, err
    assert [int(cells[0]) for cells in table] == [1, 4, 2]
    assert [int(cells[5]) for cells in table] == [101, 104, 102]
    np.testing.assert_allclose([float(cells[6]) for cells in table], WIDTHS[[1, 4, 2]] * 16.5 / 16, rtol=0.03)
    assert table[0][7].startswith("LWrist 4.")
    assert [int(cells[0]) for cells in run(data, "--stride", 2)[1]] == [4, 2, 6, 0]


def test_hypotheses_are_ranked_by_spread_or_by_error(data, predictions, run):
    code, table, err = run(predictions.parent, "--count", 4)
    assert code == 0, err
    assert [int(cells[0]) for cells in table] == np.argsort(-SPREADS_MM)[:4].tolist()
    assert all(cells[7].startswith("RWrist") for cells in table)
    code, table, err = run(predictions, "--by", "error", "--count", 4)
    assert code == 0, err
    assert [int(cells[0]) for cells in table] == np.argsort(-ERRORS_MM)[:4].tolist()
    assert float(table[0][6]) == pytest.approx(ERRORS_MM.max() * 16 / 17, rel=0.15)


def test_each_sequence_once(data, run):
    """The rows are of two takes each of three actions, or one."""
    _, table, _ = run(data, "--each_sequence_once")
    names = [tuple(cells[1:5]) for cells in table]
    assert len(set(names)) == len(names) < ROWS
    everything = run(data)[1]
    assert table == [
        cells
        for k, cells in enumerate(everything)
        if tuple(cells[1:5]) not in [tuple(other[1:5]) for other in everything[:k]]
    ]


def test_the_contact_sheet_has_a_tile_for_each_frame(data, predictions, run, tmp_path):
    sizes = {}
    for name, source, count in (("maps", data, 3), ("poses", predictions, 4)):
        code, _, err = run(source, "--count", count, "--picture", tmp_path / f"{name}.png")
        assert code == 0, err
        image = cv2.imread(str(tmp_path / f"{name}.png"))
        sizes[name] = image.shape
        assert (image.std(axis=2) > 20).mean() > 0.01, "coloured"
    assert sizes["poses"] == (2 * sizes["maps"][0], 3 * sizes["maps"][1], 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("{data}", "--by", "spread"), "needs predictions: eval.py --save_predictions writes them"),
        (("{run}", "--by", "width"), "holds hypotheses: rank them by spread or error"),
        (("{none}",), "no such file: give a data file"),
        (("{text}",), "the file cannot be read"),
        (("{moved}",), "its data file /nowhere/data.h5 is not there: give it with --data"),
        (("{run}", "--data", "{short}"), "row 7 is out of range: the data file's test table has 3 rows"),
        (("{data}", "--count", "0"), "--count and --stride must be at least 1"),
    ],
)
def test_what_does_not_fit_is_one_line(data, predictions, run, tmp_path, arguments, words):
    (tmp_path / "text").write_text("text")
    write_columnar(tmp_path / "short.h5", "h36m", {"testset": make_columns("h36m", 3)})
    places = {"data": data, "run": predictions.parent, "none": tmp_path / "none.h5", "text": tmp_path / "text"}
    if "{moved}" in arguments:
        with h5py.File(predictions, "r+") as file:
            file["predictions"].attrs["dataset_file"] = np.bytes_("/nowhere/data.h5")
    given = [word.format(**places, short=tmp_path / "short.h5", moved=predictions) for word in arguments]
    code, _, err = run(*given)
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert words in line
