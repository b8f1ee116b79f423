"""A detector that says which picture it was shown, in place of HRNet: for tests of what belongs to what."""

import runpy
import sys

import numpy as np
import pytest

from models import hrnet


class FakeDetector:
    """Every cell of the maps is the picture's brightest value over 255."""

    def __init__(self, model, *, device, precision):
        pass

    def stream(self, batches):
        for images in batches:
            brightest = np.asarray(images).reshape(len(images), -1).max(axis=1) if len(images) else np.empty(0)
            maps = np.broadcast_to(brightest[:, None, None, None] / 255, (len(images), 16, 64, 64))
            yield maps.astype(np.float16)


def shown(heatmaps):
    """The brightest value, 0 to 255, of the picture behind each row's maps (N, 16, 64, 64)."""
    return np.rint(255 * heatmaps[:, 0, 0, 0].astype(float)).astype(int).tolist()


@pytest.fixture
def run_script_here(monkeypatch, capsys):
    """run_script_here(path, *arguments) -> (exit code, stdout, stderr) of a preprocessing script in this process."""
    monkeypatch.setattr(hrnet, "Detector", FakeDetector)
    monkeypatch.setattr(hrnet, "load_hrnet", lambda path: None)

    def run(path, *arguments):
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        before = list(sys.path)
        with pytest.raises(SystemExit) as stop:
            runpy.run_path(str(path), run_name="__main__")
        sys.path[:] = before
        out = capsys.readouterr()
        return int(stop.value.code or 0), out.out, out.err

    return run
