"""Joint names, orders, bones and symmetric pairs: every joint index of the project is defined here, once."""

from dataclasses import dataclass, field

from utils.errors import DiffPoseError

H36M_JOINTS = (
    "Hip",
    "RHip",
    "RKnee",
    "RFoot",
    "LHip",
    "LKnee",
    "LFoot",
    "Spine",
    "Thorax",
    "Neck",
    "Head",
    "LShoulder",
    "LElbow",
    "LWrist",
    "RShoulder",
    "RElbow",
    "RWrist",
)
MPII_JOINTS = (
    "RFoot",
    "RKnee",
    "RHip",
    "LHip",
    "LKnee",
    "LFoot",
    "Hip",
    "Spine",
    "Thorax",
    "Head",
    "RWrist",
    "RElbow",
    "RShoulder",
    "LShoulder",
    "LElbow",
    "LWrist",
)
SMPL_JOINTS = (
    "Pelvis",
    "LHip",
    "RHip",
    "Spine1",
    "LKnee",
    "RKnee",
    "Spine2",
    "LAnkle",
    "RAnkle",
    "Spine3",
    "LFoot",
    "RFoot",
    "Neck",
    "LCollar",
    "RCollar",
    "Head",
    "LShoulder",
    "RShoulder",
    "LElbow",
    "RElbow",
    "LWrist",
    "RWrist",
    "LHand",
    "RHand",
)

# H36M joint that each of the 16 heatmaps (MPII order) belongs to; H36M 9 (Neck/Nose) has none.
MPII_TO_H36M = (3, 2, 1, 4, 5, 6, 0, 7, 8, 10, 16, 15, 14, 11, 12, 13)
NUM_HEATMAPS = len(MPII_JOINTS)
HEATMAP_SIZE = 64


@dataclass(frozen=True)
class Skeleton:
    """A set of 3D joints and the index sets that metrics and pictures need.

    ``bones`` are (parent, child) pairs; ``symmetric_bones`` are ((a, b), (c, d)) pairs of a right and a left bone (in
    either order) whose lengths should agree; ``root_from_hips``: the network predicts all joints but the root, which is
    put back as the midpoint of ``hips``; ``rooted``: joint 0 is the root, which is zero in every root-centred pose.
    """

    name: str
    joints: tuple[str, ...]
    bones: tuple[tuple[int, int], ...]
    symmetric_bones: tuple[tuple[tuple[int, int], tuple[int, int]], ...]
    pck_joints: tuple[int, ...]
    cps_joints: tuple[int, ...]
    hips: tuple[int, int]
    root_from_hips: bool
    right: tuple[int, ...]
    left: tuple[int, ...]
    rooted: bool = True

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    @property
    def num_predicted(self) -> int:
        """Joints that the network predicts: all, or all but the root."""
        return self.num_joints - int(self.root_from_hips)


H36M17 = Skeleton(
    name="h36m17",
    joints=H36M_JOINTS,
    bones=(
        (0, 1),
        (1, 2),
        (2, 3),
        (0, 4),
        (4, 5),
        (5, 6),
        (0, 7),
        (7, 8),
        (8, 9),
        (9, 10),
        (8, 11),
        (11, 12),
        (12, 13),
        (8, 14),
        (14, 15),
        (15, 16),
    ),
    symmetric_bones=(
        ((1, 2), (4, 5)),
        ((2, 3), (5, 6)),
        ((11, 12), (14, 15)),
        ((12, 13), (15, 16)),
        ((8, 11), (8, 14)),
    ),
    pck_joints=(1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14, 15, 16),
    cps_joints=(0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14, 15, 16),
    hips=(1, 4),
    root_from_hips=True,
    right=(1, 2, 3, 14, 15, 16),
    left=(4, 5, 6, 11, 12, 13),
)

SMPL24 = Skeleton(
    name="smpl24",
    joints=SMPL_JOINTS,
    bones=(
        (0, 1),
        (0, 2),
        (0, 3),
        (1, 4),
        (2, 5),
        (3, 6),
        (4, 7),
        (5, 8),
        (6, 9),
        (7, 10),
        (8, 11),
        (9, 12),
        (9, 13),
        (9, 14),
        (12, 15),
        (13, 16),
        (14, 17),
        (16, 18),
        (17, 19),
        (18, 20),
        (19, 21),
        (20, 22),
        (21, 23),
    ),
    symmetric_bones=(
        ((2, 5), (1, 4)),
        ((5, 8), (4, 7)),
        ((17, 19), (16, 18)),
        ((19, 21), (18, 20)),
        ((14, 17), (13, 16)),
    ),
    pck_joints=tuple(range(1, 24)),
    cps_joints=tuple(range(24)),
    hips=(2, 1),
    root_from_hips=False,
    right=(2, 5, 8, 11, 14, 17, 19, 21, 23),
    left=(1, 4, 7, 10, 13, 16, 18, 20, 22),
)

_BY_DATASET = {"h36m": H36M17, "3dhp": H36M17, "3dpw": SMPL24, "skipose": H36M17}


def skeleton_for(dataset: str) -> Skeleton:
    """The skeleton of a dataset named as in DATASET.DATASET (h36m, 3DHP, 3dpw, SkiPose; any case)."""
    try:
        return _BY_DATASET[dataset.lower()]
    except KeyError:
        raise DiffPoseError(
            f"unknown dataset '{dataset}': DATASET.DATASET is one of h36m, 3DHP, 3dpw, SkiPose"
        ) from None


@dataclass(frozen=True)
class JointSet:
    """Joints that are scored by themselves, rooted at the middle of the hips: the numbers of ``source``'s joints."""

    name: str
    source: Skeleton
    numbers: tuple[int, ...]
    skeleton: Skeleton = field(init=False)

    def __post_init__(self):
        new = {number: place for place, number in enumerate(self.numbers)}

        def kept(numbers: tuple[int, ...]) -> tuple[int, ...]:
            return tuple(new[number] for number in numbers if number in new)

        bones = tuple(kept(bone) for bone in self.source.bones)
        pairs = tuple((kept(a), kept(b)) for a, b in self.source.symmetric_bones)
        skeleton = Skeleton(
            name=self.name,
            joints=tuple(self.source.joints[number] for number in self.numbers),
            bones=tuple(bone for bone in bones if len(bone) == 2),
            symmetric_bones=tuple(pair for pair in pairs if all(len(bone) == 2 for bone in pair)),
            pck_joints=kept(self.source.pck_joints),
            cps_joints=kept(self.source.cps_joints),
            hips=kept(self.source.hips),
            root_from_hips=False,
            right=kept(self.source.right),
            left=kept(self.source.left),
            rooted=False,
        )
        object.__setattr__(self, "skeleton", skeleton)

    def select(self, poses):
        """Poses (..., J, 3) of the source, arrays or tensors -> (..., len(numbers), 3), the middle of the hips at 0."""
        right, left = self.source.hips
        return poses[..., list(self.numbers), :] - (poses[..., [right], :] + poses[..., [left], :]) / 2


def mirror_order(joints: tuple[str, ...]) -> list[int]:
    """For each joint the index of its partner on the other side (itself on the trunk), by the names' first letter."""
    other = {"L": "R", "R": "L"}
    partner = [other.get(name[0], name[0]) + name[1:] for name in joints]
    return [joints.index(name) if name in joints else i for i, name in enumerate(partner)]


COMMON13 = JointSet("common13", H36M17, (1, 2, 3, 4, 5, 6, 8, 11, 12, 13, 14, 15, 16))
"""Hips, knees, ankles, thorax, shoulders, elbows, wrists: what recorded skeletons agree on (not spine and head)."""

ALL_JOINTS = "all"
JOINT_SETS = (ALL_JOINTS, COMMON13.name)


def joint_set_for(name: str, skeleton: Skeleton) -> JointSet | None:
    """The joints of a name of :data:`JOINT_SETS`; None for all of the skeleton's.

    Raises DiffPoseError for an unknown name, and for a skeleton that does not have the joints.
    """
    if name == ALL_JOINTS:
        return None
    if name != COMMON13.name:
        raise DiffPoseError(f"unknown joints '{name}': one of {', '.join(JOINT_SETS)}")
    if skeleton is not COMMON13.source:
        raise DiffPoseError(
            f"joints {name} are Human3.6M's: poses of {skeleton.name} are scored on all their joints (--joints all)"
        )
    return COMMON13
