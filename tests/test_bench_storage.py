"""The script that measures the compact form of heatmaps: its measures have known answers, and it runs whole."""

import json
import sys

import numpy as np
import pytest

from data.hdf5.columnar import encode_heatmap
from data.hdf5.compact import CompactForm
from experiments.bench import storage
from utils.errors import run_script


def test_total_variation_of_a_known_map():
    """A peak of 1 and 100 cells of 0.001: without these, a share of 0.1 / 1.1 of the candidates is elsewhere."""
    maps = np.zeros((1, 2, 64, 64), np.float16)
    maps[0, :, 3, 4] = 1
    maps[0, 0, 10, :50] = maps[0, 0, 40, :50] = 0.001
    maps[0, 0, 20] = -0.5
    change = storage.distribution_change(maps, CompactForm(threshold=0.01))
    assert change["tv_max"] == pytest.approx(0.1 / 1.1, rel=1e-3)
    assert change["tv_mean"] == pytest.approx(0.05 / 1.1, rel=1e-3)
    assert change["argmax_kept"] == 1
    moved = storage.distribution_change(maps, lambda values: values[..., ::-1])
    assert moved["argmax_kept"] == 0
    assert moved["tv_max"] == pytest.approx(1)


def test_noise_belongs_to_its_row():
    maps = np.ones((3, 2, 64, 64), np.float16)
    noisy = storage.with_noise(maps, 0.01)
    np.testing.assert_array_equal(noisy[:2], storage.with_noise(maps[:2], 0.01))
    assert np.std(noisy.astype(float)) == pytest.approx(0.01, rel=0.05)
    assert (noisy[0] != noisy[1]).any()


def test_storage_of_every_form():
    maps = storage.with_noise(np.zeros((3, 16, 64, 64), np.float16) + np.float16(0.5), 0.01)
    found = storage.storage(maps, {"short": CompactForm(threshold=0, mantissa_bits=4)})
    assert found["uncompressed"]["kib"] == 128
    assert found["as published"]["kib"] == pytest.approx(sum(len(encode_heatmap(row)) for row in maps) / 3 / 1024)
    assert found["short"]["kib"] < 0.5 * found["as published"]["kib"]
    assert all(row["encode_ms"] > 0 and row["decode_ms"] > 0 for row in found.values())


def test_the_command_with_a_trained_run(tmp_path, tiny_data, trained, monkeypatch, capsys):
    output = tmp_path / "new" / "storage.json"
    command = [
        "storage.py",
        "--file",
        tiny_data / "tiny.h5",
        "--rows",
        4,
        "--thresholds",
        0,
        0.01,
        "--bits",
        10,
        5,
        "--run",
        trained / "config.yaml",
        "--run_rows",
        5,
        "--output",
        output,
    ]
    monkeypatch.setattr(sys, "argv", [str(part) for part in command])
    with pytest.raises(SystemExit) as stop:
        run_script(storage.main)
    assert not stop.value.code
    printed = capsys.readouterr().out
    assert "| 0.01, 5 bits |" in printed
    found = json.loads(output.read_text())
    part = found["maps"]["as in the file"]
    assert list(part["storage"]) == [
        "uncompressed",
        "as published",
        "0, 10 bits",
        "0, 5 bits",
        "0.01, 10 bits",
        "0.01, 5 bits",
    ]
    assert part["storage"]["0, 10 bits"]["tv_max"] == 0
    assert list(part["accuracy"]) == ["as published", "0, 5 bits", "0.01, 5 bits"]
    assert 0 < part["accuracy"]["as published"]["best"] < part["accuracy"]["as published"]["mean_pose"]
    # The same draws of the same cells: the change is by far smaller than the error.
    assert abs(part["accuracy"]["0, 5 bits"]["best_change"]) < 0.05 * part["accuracy"]["as published"]["best"]
    assert found["about"]["run_rows"] == 5


@pytest.mark.parametrize("wrong", [("--rows", 0), ("--bits", 11), ("--thresholds", 1), ("--file", "none.h5")])
def test_wrong_use_is_one_line(tmp_path, monkeypatch, capsys, wrong):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["storage.py", *map(str, wrong)])
    with pytest.raises(SystemExit) as stop:
        run_script(storage.main)
    assert stop.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
