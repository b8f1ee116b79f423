"""Flip testing: an image and its mirror image show the same scene, so both may say what the pose could be."""

from torch import Tensor

from models.samplers import PoseSampler
from utils.randomness import FrameDraws
from utils.skeleton import MPII_JOINTS, mirror_order

_MAPS = mirror_order(MPII_JOINTS)


def mirror_maps(heatmaps: Tensor) -> Tensor:
    """Heatmaps (B, 16, 64, 64) of the mirror image: column c becomes 64 - c (0 stays), left and right change places."""
    return heatmaps[:, _MAPS].flip(-1).roll(1, dims=-1)


class FlipSampler(PoseSampler):
    """Every second hypothesis is sampled from the mirrored heatmaps, with draws of its own, and mirrored back.

    It costs what :class:`PoseSampler` costs. A network that treats both sides alike would gain nothing; a trained one
    errs in two different ways, which widens the choice for the best hypothesis and evens the mean out.
    """

    def _hypotheses(self, inputs: Tensor, draws: FrameDraws, count: int | None = None) -> Tensor:
        count = count or self.num_hypotheses
        if count < 2:
            return super()._hypotheses(inputs, draws, count)
        seen = super()._hypotheses(inputs, draws, count - count // 2)
        mirrored = super()._hypotheses(mirror_maps(inputs), draws.named("mirrored"), count // 2)
        joints = mirror_order(self.model.skeleton.joints)
        poses = seen.new_empty(len(seen), count, *seen.shape[2:])
        poses[:, 0::2] = seen
        poses[:, 1::2] = mirrored[:, :, joints] * mirrored.new_tensor((-1.0, 1.0, 1.0))
        return poses
