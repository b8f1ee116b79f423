"""experiments/reliability.py: one picture from several reports, one line for a file that is none."""

import json

import cv2
import pytest

from experiments.reliability import main, read_calibration
from utils.errors import DiffPoseError


def test_picture_and_errors(monkeypatch, tmp_path):
    report = {"results": [{"calibration": {"levels": [0.5, 0.8], "observed": [0.4, 0.7], "error": 0.1}}]}
    (tmp_path / "real_motion.json").write_text(json.dumps(report))
    assert read_calibration(tmp_path / "real_motion.json")["observed"].tolist() == [0.4, 0.7]
    picture = tmp_path / "curves.png"
    monkeypatch.setattr("sys.argv", ["x", str(tmp_path / "real_motion.json"), "--output", str(picture)])
    main()
    assert cv2.imread(str(picture)).std() > 5
    (tmp_path / "other.json").write_text("[]")
    for name in ("other.json", "none.json"):
        with pytest.raises(DiffPoseError, match=name):
            read_calibration(tmp_path / name)
