"""How wide skeletons are, and how much of an error is a matter of that."""

import sys

import pytest
import torch

from experiments import skeletons
from utils.errors import DiffPoseError
from utils.skeleton import H36M17


def pose(hips, shoulders):
    """One pose that stands, whose hips and shoulders are so far apart, (1, 17, 3) mm; legs of 900 mm."""
    found = torch.zeros(1, 17, 3)
    for side, sign in (("R", -1), ("L", 1)):
        for name, apart, down in (
            *(("Hip", hips, 0), ("Knee", hips, 450), ("Foot", hips, 900)),
            *(("Shoulder", shoulders, -500), ("Elbow", shoulders, -200), ("Wrist", shoulders, 50)),
        ):
            found[0, H36M17.joints.index(side + name)] = torch.tensor([sign * apart / 2, -float(down), 0.0])
    return found


def test_widths_of_the_truth_are_taken_over_with_the_limbs():
    narrow, wide = pose(180, 380), pose(270, 300)
    assert skeletons.shown_widths(torch.cat([narrow, narrow])) == ["180", "0.20 ± 0.00", "380", "0.42 ± 0.00"]
    torch.testing.assert_close(skeletons.with_widths_of(wide, narrow), narrow)
    turned = torch.tensor([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])  # about the vertical axis: nothing else may change
    torch.testing.assert_close(skeletons.with_widths_of(wide @ turned, narrow), narrow @ turned)
    assert torch.equal(wide, pose(270, 300)), "the poses given are left as they are"


def test_it_prints_a_row_for_each_file(monkeypatch, capsys, tiny_data):
    tiny_file = tiny_data / "tiny.h5"
    monkeypatch.setattr(sys, "argv", ["skeletons.py", str(tiny_file), str(tiny_file), "--rows", "5"])
    skeletons.main()
    assert capsys.readouterr().out.count(f"| {tiny_file} |") == 2
    monkeypatch.setattr(sys, "argv", ["skeletons.py", str(tiny_file), "--rows", "1"])
    with pytest.raises(DiffPoseError, match="--rows 1"):
        skeletons.main()
