"""TEST.FLIP: half of the hypotheses see the mirror image, and stand the right way round in the result."""

import pytest
import torch

from data.augmentation import mirror_poses, warp
from models import build_sampler
from models.flip import mirror_maps
from tests.models.test_samplers import build, close
from tests.models.test_samplers_known_answers import MAIN, MAPS
from utils.config import Config, change_config
from utils.randomness import FrameDraws

pytestmark = pytest.mark.usefixtures("narrow")


def test_maps_are_mirrored_as_in_training():
    count = len(MAPS)
    everywhere = {"scale": torch.ones(count), "shift": torch.zeros(count, 16, 2), "width": torch.ones(count, 16)}
    trained = warp(MAPS, mirror=torch.ones(count, dtype=torch.bool), **everywhere)
    # Column 0 has no partner: training leaves it empty.
    close(mirror_maps(MAPS)[..., 1:], trained[..., 1:], 1e-6)
    assert torch.equal(mirror_maps(mirror_maps(MAPS)), MAPS)


@pytest.mark.parametrize("count", [1, 5, 6])
def test_every_second_hypothesis_comes_from_the_mirror_image(count):
    model, draws, half = build(), FrameDraws(3, range(len(MAPS))), count // 2

    def sample(maps, draws, hypotheses, *settings):
        config = change_config(Config(), [f"MODEL.TIMESTEPS={model.timesteps}", *MAIN, *settings])
        return build_sampler(model, config, num_hypotheses=hypotheses, zero_noise=False)(maps, draws).hypotheses_mm

    poses = sample(MAPS, draws, count, "TEST.FLIP=true")
    assert poses.shape[:2] == (len(MAPS), count)
    close(poses[:, ::2], sample(MAPS, draws, count - half), 1e-5)
    if half:
        mirrored = sample(mirror_maps(MAPS), draws.named("mirrored"), half)[:, :, 1:].flatten(0, 1)  # without the root
        back = mirror_poses(mirrored, torch.ones(len(mirrored), dtype=torch.bool))
        close(poses[:, 1::2, 1:].flatten(0, 1), back, 1e-5)
