"""The demo as a library: a trained run and a detector -> poses, as arrays.

from demo import PoseEstimator
estimator = PoseEstimator.load()      # or PoseEstimator.load("output/my_run/config.yaml")
people = estimator("person.jpg")      # people.poses.consensus_mm, .hypotheses_mm, .spread_mm, ..
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from data.keypoints.joints import LEAST_SEEN
from demo.crops import Square
from demo.detectors import CROPS, choose_detector
from demo.images import read_image, to_rgb8
from demo.keypoints import keypoint_persons
from demo.person import Detector, NoPersonError, Person
from models import build_sampler
from models.run import load_run
from models.samplers import PoseSampler
from utils.config import Config
from utils.devices import choose_device
from utils.errors import DiffPoseError
from utils.evaluation.consensus import Modes, consensus_pose, find_modes, guessed_joints, joint_spread
from utils.heatmaps import LOST_LEVEL
from utils.randomness import FrameDraws
from utils.skeleton import H36M17, HEATMAP_SIZE, MPII_JOINTS, NUM_HEATMAPS, Skeleton

SHIPPED_RUN = Path(__file__).resolve().parent / "weights" / "config.yaml"
# Thigh, shank, trunk, neck and head as a share of stature: see data/synthetic/bodies.py.
_CHAIN_SHARE = 0.925
_CHAIN = ((0, 7), (7, 8), (8, 9), (9, 10))
_LEGS = ((1, 2), (2, 3), (4, 5), (5, 6))


@dataclass(frozen=True)
class Poses:
    """Poses of N people or frames: root-centred, mm, x right in the picture, y up, z towards the camera.

    Attributes:
        hypotheses_mm: (N, H, J, 3).
        consensus_mm: (N, J, 3) one pose, made without the truth.
        spread_mm: (N, J) standard deviation over the hypotheses, the three axes together.
        guessed: (N, J) bool: joints that the model guesses rather than knows.
        modes: one for each of N: the few distinct explanations with their weights.
        skeleton: names of the joints, bones, sides.
    """

    hypotheses_mm: np.ndarray
    consensus_mm: np.ndarray
    spread_mm: np.ndarray
    guessed: np.ndarray
    modes: list[Modes]
    skeleton: Skeleton


@dataclass(frozen=True)
class People:
    """What one image holds: ``persons`` (2D, largest first) and, in the same order, their ``poses``.

    ``too_small``: sizes, px, of people who were found and left out, since they are too small.
    """

    persons: list[Person]
    poses: Poses
    too_small: tuple[int, ...] = ()


def own_heatmaps(heatmaps: np.ndarray | torch.Tensor, joints: Sequence[str] | None) -> torch.Tensor:
    """Heatmaps (N, K, h, w) of any detector, in the order of ``joints`` -> (N, 16, 64, 64) float32 in MPII order.

    ``joints``: a name of utils.skeleton.MPII_JOINTS for each of the K maps; None for the 16 in order. Joints without a
    map get one that says nothing. Raises DiffPoseError for names and shapes that do not fit.
    """
    maps = torch.as_tensor(heatmaps).detach().cpu().float()
    names = list(MPII_JOINTS if joints is None else joints)
    if maps.ndim != 4 or maps.shape[1] != len(names):
        raise DiffPoseError(
            f"heatmaps {tuple(maps.shape)}: expected (N, {len(names)}, height, width), a map for each joint"
        )
    unknown = [name for name in names if name not in MPII_JOINTS]
    if unknown or len(set(names)) != len(names):
        raise DiffPoseError(
            f"joints: {f'unknown name {unknown[0]}' if unknown else 'a name comes twice'}: use {', '.join(MPII_JOINTS)}"
        )
    if not bool(maps.isfinite().all()):
        raise DiffPoseError("heatmaps hold NaN or infinite values: mend them first")
    size = (HEATMAP_SIZE, HEATMAP_SIZE)
    if maps.shape[2:] != size:
        maps = torch.nn.functional.interpolate(maps, size=size, mode="bilinear", antialias=True, align_corners=False)
    out = torch.full((len(maps), NUM_HEATMAPS, *size), LOST_LEVEL)
    out[:, [MPII_JOINTS.index(name) for name in names]] = maps
    empty = out.amax((2, 3), keepdim=True) <= 0
    return torch.where(empty, out.new_tensor(LOST_LEVEL), out)


def stature_mm(poses_mm: torch.Tensor) -> torch.Tensor:
    """Standing height (...) that goes with the bone lengths of poses (..., 17, 3), mm."""
    chain = sum((poses_mm[..., a, :] - poses_mm[..., b, :]).norm(dim=-1) for a, b in _CHAIN)
    legs = sum((poses_mm[..., a, :] - poses_mm[..., b, :]).norm(dim=-1) for a, b in _LEGS) / 2
    return (chain + legs) / _CHAIN_SHARE


def view_rotation(angles: torch.Tensor) -> torch.Tensor:
    """Rotations (N, 3, 3) about the viewing axis that turn poses of crops, turned by angles (N,) radians, back."""
    cos, sin = angles.cos(), angles.sin()
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = ((cos, sin, zero), (-sin, cos, zero), (zero, zero, one))
    return torch.stack([torch.stack(row, -1) for row in rows], -2)


class PoseEstimator:
    """Finds people in images and lifts them to 3D; or lifts heatmaps or keypoints of any detector.

    ``height_cm``: the person's height. Without it poses have the size of an average body: one image can't tell a child
    nearby from an adult far away.
    """

    def __init__(
        self,
        sampler: PoseSampler,
        config: Config,
        *,
        detector: Detector | str = "auto",
        seed: int = 0,
        height_cm: float | None = None,
        crops: str = CROPS[0],
    ):
        self.sampler, self.config, self.seed, self.height_cm, self.crops = sampler, config, seed, height_cm, crops
        self.skeleton = sampler.model.skeleton
        self.device = sampler.model.betas.device
        if config.model.condition_key != "heatmaps":
            raise DiffPoseError(
                f"MODEL.CONDITION_KEY {config.model.condition_key}: the demo lifts heatmaps: choose a run that does"
            )
        if height_cm is not None and (self.skeleton is not H36M17 or not 30 <= height_cm <= 300):
            raise DiffPoseError(f"height {height_cm} cm: 30 to 300, and for models of 17 joints only")
        self._detector = detector

    @classmethod
    def load(
        cls,
        config: str | Path | None = None,
        *,
        num_hypotheses: int = 200,
        detector: str = "auto",
        device: str = "auto",
        seed: int = 0,
        height_cm: float | None = None,
        checkpoint: str | Path | None = None,
        overrides: Sequence[str] = (),
        crops: str = CROPS[0],
    ) -> "PoseEstimator":
        """An estimator from a run's config.yaml (None: the weights that ship), its checkpoint beside it.

        ``overrides``: keys of the configuration, as ["TEST.SAMPLER=ddim", "TEST.STEPS=10", "MODEL.NOISE_SCALE=1.1"].
        ``crops``: ``turned`` with the body, or ``upright``; see :class:`demo.embedded.EmbeddedDetector`.
        Raises DiffPoseError for a run that can't be used.
        """
        if num_hypotheses < 1:
            raise DiffPoseError(f"{num_hypotheses} hypotheses: it must be at least 1")
        chosen = choose_device(device)
        settings, model, _ = load_run(config or SHIPPED_RUN, overrides=overrides, checkpoint=checkpoint, device=chosen)
        sampler = build_sampler(model, settings, num_hypotheses=num_hypotheses, zero_noise=False)
        return cls(sampler, settings, detector=detector, seed=seed, height_cm=height_cm, crops=crops)

    @property
    def detector(self) -> Detector:
        """The 2D detector, made when it is first needed."""
        if isinstance(self._detector, str):
            self._detector = choose_detector(
                self._detector, device=self.device, threads=torch.get_num_threads(), crops=self.crops
            )
        return self._detector

    def __call__(
        self,
        image: str | Path | np.ndarray,
        *,
        square: Square | None = None,
        person: int | None = None,
        near: list[Square] | None = None,
        frame: int = 0,
    ) -> People:
        """Everyone in an image (a path, or an array: RGB, grey or RGBA), or the one person in a ``square``.

        ``person``: only this one, counted from 0 by size. ``near``: where people were in the frame before. ``frame``
        is part of the key of the random draws. Raises DiffPoseError when nobody is found.
        """
        pixels = read_image(image) if isinstance(image, str | Path) else _as_rgb(np.asarray(image))
        if square is not None:
            found = self.detector.person_in(pixels, square)
            persons = [found] if found else []
        else:
            persons = self.detector.people(pixels, near=near)
        if not persons:
            where = "in the given box" if square is not None else "found"
            raise NoPersonError(f"no person {where}: give a box around one with --bbox x y w h, or try --whole_image")
        if person is not None:
            if not 0 <= person < len(persons):
                raise DiffPoseError(f"--person {person}: {len(persons)} found, numbered from 0, the largest first")
            persons = [persons[person]]
        poses = self.lift(persons, frame=frame)
        return People(persons, poses, tuple(getattr(self.detector, "too_small", ())))

    def lift(self, persons: Sequence[Person], *, frame: int = 0) -> Poses:
        """Poses of the people of one picture; ``frame``: part of the key of the random draws."""
        return self.from_heatmaps(
            np.stack([person.heatmaps for person in persons]),
            frames=[64 * frame + k for k in range(len(persons))],
            angles=[person.angle for person in persons],
        )

    def from_keypoints(
        self,
        xy: np.ndarray,
        confidence: np.ndarray | None = None,
        *,
        layout: str | None = None,
        frames: Sequence[int] | None = None,
    ) -> Poses:
        """Lift keypoints (N, K, 2), px of the picture, of N people or frames, with their confidence (N, K), 0 to 1.

        ``layout``: one of :data:`data.keypoints.layouts.LAYOUTS`; None for the one with K keypoints (of the two with
        17, COCO's). Points that are not finite or have a confidence under 0.05 count as unseen; without confidences
        those at (0, 0) do. ``frames``: as in :meth:`from_heatmaps`. Raises DiffPoseError for shapes and layouts that
        do not fit, and for people of whom too little is seen.
        """
        persons = keypoint_persons(xy, confidence, layout=layout, crops=self.crops)
        if not persons:
            raise DiffPoseError("keypoints of nobody: expected (N, K, 2) with N of at least 1")
        seen = [person for person in persons if person is not None]
        if len(seen) < len(persons):
            raise DiffPoseError(
                f"keypoints: of row {persons.index(None)} fewer than {LEAST_SEEN} joints are seen: leave it out"
            )
        angles = [person.angle for person in seen]
        return self.from_heatmaps(np.stack([person.heatmaps for person in seen]), frames=frames, angles=angles)

    def from_heatmaps(
        self,
        heatmaps: np.ndarray | torch.Tensor,
        *,
        joints: Sequence[str] | None = None,
        frames: Sequence[int] | None = None,
        angles: Sequence[float] | None = None,
    ) -> Poses:
        """Lift heatmaps (N, 16, 64, 64) in MPII order, or (N, K, h, w) with the names of their K ``joints``.

        Each covers the square crop that models are trained with: 1.2 times the extent of the person's joints.
        ``frames``: (N,) numbers that key the random draws. ``angles``: (N,) radians by which the crops are turned
        clockwise in the picture; the poses are turned back about the viewing axis.
        """
        maps = own_heatmaps(heatmaps, joints).to(self.device)
        draws = FrameDraws(self.seed, frames if frames is not None else range(len(maps)), device=self.device)
        hypotheses = self.sampler(maps, draws).hypotheses_mm.float()
        if self.height_cm is not None:
            factor = 10 * self.height_cm / stature_mm(hypotheses).mean(-1)
            hypotheses = hypotheses * factor[:, None, None, None]
        consensus = consensus_pose(hypotheses, maps)
        if angles is not None:
            turn = view_rotation(torch.as_tensor(angles, dtype=hypotheses.dtype, device=self.device))  # (N, 3, 3)
            hypotheses, consensus = hypotheses @ turn[:, None].mT, consensus @ turn.mT
        return Poses(
            hypotheses_mm=hypotheses.cpu().numpy(),
            consensus_mm=consensus.cpu().numpy(),
            spread_mm=joint_spread(hypotheses).cpu().numpy(),
            guessed=guessed_joints(hypotheses).cpu().numpy(),
            modes=[find_modes(one) for one in hypotheses.cpu()],
            skeleton=self.skeleton,
        )


def _as_rgb(image: np.ndarray) -> np.ndarray:
    """An array (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, 8 or 16 bits or float in 0..1, as RGB uint8."""
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] not in (1, 3, 4)) or not image.size:
        raise DiffPoseError(f"an image is (H, W), (H, W, 3) or (H, W, 4), not {image.shape}")
    if image.ndim == 3 and image.shape[2] >= 3:
        image = np.concatenate([image[..., 2::-1], image[..., 3:]], axis=-1)  # to BGR or BGRA
    return to_rgb8(image)
