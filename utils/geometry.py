"""Geometry of poses: root-centring, camera projection, similarity and scale alignment.

Poses are ``(..., J, 3)``; every function works in any unit of length, on any device, and broadcasts leading axes, so a
truth of shape ``(B, 1, J, 3)`` serves hypotheses of shape ``(B, H, J, 3)`` without being copied.
"""

from typing import Any

import torch
from torch import Tensor

from utils.skeleton import Skeleton

# A separated root is exact to rounding after 10. Near a double one each step halves the distance: after 18 the cost is
# within 1e-5 of the optimum, yet not so near that slope or adjugate vanish, so no case needs special treatment.
NEWTON_STEPS = 18


def check_poses(poses: Tensor, name: str = "poses") -> None:
    """Raise ValueError unless ``poses`` has the shape (..., J, 3) and a floating-point type."""
    if poses.ndim < 2 or poses.shape[-1] != 3 or not poses.is_floating_point():
        raise ValueError(f"{name} must be floating-point (..., J, 3), got {poses.dtype} {tuple(poses.shape)}")


def check_pair(poses: Tensor, truth: Tensor) -> None:
    """Raise ValueError unless both are poses of equally many joints whose leading axes broadcast."""
    check_poses(poses, "poses")
    check_poses(truth, "truth")
    try:
        torch.broadcast_shapes(poses.shape[:-2], truth.shape[:-2])
    except RuntimeError:
        compatible = False
    else:
        compatible = poses.shape[-2] == truth.shape[-2]
    if not compatible:
        raise ValueError(f"poses {tuple(poses.shape)} and truth {tuple(truth.shape)} do not broadcast")


def coordinate_major(poses: Tensor) -> Tensor:
    """The same (B, H, J, 3) poses, laid out in memory as (B, J, 3, H).

    Element-wise work and reductions over joints or axes then run along contiguous hypotheses: several times faster.
    """
    frames, hypotheses, joints, axes = poses.shape
    flat = poses.reshape(frames, hypotheses, joints * axes).transpose(1, 2).contiguous()
    return flat.view(frames, joints, axes, hypotheses).permute(0, 3, 1, 2)


def root_centre(poses: Tensor, root: int = 0) -> Tensor:
    """Poses (..., J, 3) with joint ``root`` moved to the origin."""
    return poses - poses[..., root : root + 1, :]


def with_root(poses: Tensor, skeleton: Skeleton) -> Tensor:
    """Poses of the predicted joints (..., num_predicted, 3) -> root-centred poses of all joints (..., J, 3).

    Where the skeleton leaves its root out, the root is put back as the midpoint of right and left hip.
    """
    check_poses(poses)
    if poses.shape[-2] != skeleton.num_predicted:
        raise ValueError(f"{skeleton.name} predicts {skeleton.num_predicted} joints, got {tuple(poses.shape)}")
    if skeleton.root_from_hips:
        right, left = (hip - 1 for hip in skeleton.hips)
        root = (poses[..., right : right + 1, :] + poses[..., left : left + 1, :]) / 2
        poses = torch.cat((root, poses), dim=-2)
    return root_centre(poses)


def flip_yz(poses: Tensor) -> Tensor:
    """Camera frame (y down, z away) <-> evaluation frame (y up, z towards the camera); its own inverse."""
    return poses * poses.new_tensor((1.0, -1.0, -1.0))


def project(points: Tensor, *, focal: Tensor, centre: Tensor) -> Tensor:
    """Pinhole projection of camera-frame points (..., 3) to pixels (..., 2).

    ``focal`` and ``centre`` are (2,) or broadcast against (..., 2), in pixels: u = f * xyz[:2] / z + c.
    """
    return points[..., :2] / points[..., 2:3] * focal + centre


def world_to_camera(points: Tensor, *, rotation: Tensor, translation: Tensor) -> Tensor:
    """World points (..., 3) in the camera's frame: R (X - t), R (3, 3), t (3,) the camera's place."""
    return (points - translation) @ rotation.transpose(-1, -2)


def _quaternion_matrix(k: list[list[Tensor]]) -> list[list[Any]]:
    """Horn's symmetric, traceless 4x4 matrix of the 3x3 covariance ``k[a][b] = sum_j pose_a truth_b``.

    The upper part; the entries below the diagonal are None.
    """
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = k
    return [
        [xx + yy + zz, yz - zy, zx - xz, xy - yx],
        [None, xx - yy - zz, xy + yx, zx + xz],
        [None, None, yy - xx - zz, yz + zy],
        [None, None, None, zz - xx - yy],
    ]


def _pairs(n: list[list[Tensor]], first: int, second: int) -> dict[tuple[int, int], Tensor]:
    """All 2x2 minors of rows ``first`` and ``second`` of the full symmetric 4x4 matrix ``n``."""
    columns = [(i, j) for i in range(4) for j in range(i + 1, 4)]
    return {(i, j): n[first][i] * n[second][j] - n[first][j] * n[second][i] for i, j in columns}


def _largest_eigenvalue(n: list[list[Tensor]], norm2: Tensor, det3: Tensor) -> Tensor:
    """Newton's method from above on the characteristic polynomial of Horn's matrix (Theobald 2005).

    All roots are real, so the iteration falls monotonically onto the largest. ``norm2`` is |K|^2 (1, or 0 for a
    degenerate pose), ``det3`` is det K.
    """
    upper, lower = _pairs(n, 0, 1), _pairs(n, 2, 3)
    c0 = (
        upper[0, 1] * lower[2, 3]
        - upper[0, 2] * lower[1, 3]
        + upper[0, 3] * lower[1, 2]
        + upper[1, 2] * lower[0, 3]
        - upper[1, 3] * lower[0, 2]
        + upper[2, 3] * lower[0, 1]
    )
    c2, c1 = -2 * norm2, -8 * det3
    value = torch.full_like(norm2, 3**0.5)
    for _ in range(NEWTON_STEPS):
        square = value * value
        inner = square + c2
        polynomial = torch.addcmul(c0, torch.addcmul(c1, inner, value), value)
        slope = torch.addcmul(c1, square + inner, value, value=2)
        value = torch.addcdiv(value, polynomial, slope, value=-1)
    return value


def _top_quaternion(n: list[list[Tensor]], value: Tensor) -> Tensor:
    """Unit eigenvector (..., 4) of the eigenvalue: the longest column of the adjugate of N - value I."""
    m = [[n[i][j] - value if i == j else n[i][j] for j in range(4)] for i in range(4)]
    low, high = _pairs(m, 2, 3), _pairs(m, 0, 1)

    def cofactor(row: list[Tensor], minors: dict[tuple[int, int], Tensor], columns: list[int]) -> Tensor:
        i, j, k = columns
        return row[i] * minors[j, k] - row[j] * minors[i, k] + row[k] * minors[i, j]

    rest = [[c for c in range(4) if c != skip] for skip in range(4)]
    a = {}
    for column in range(4):
        sign = -1 if column % 2 else 1
        a[0, column] = sign * cofactor(m[1], low, rest[column])
        a[1, column] = -sign * cofactor(m[0], low, rest[column])
        a[2, column] = sign * cofactor(m[3], high, rest[column])
        a[3, column] = -sign * cofactor(m[2], high, rest[column])
    adjugate = torch.stack([torch.stack([a[i, j] for j in range(4)], dim=-1) for i in range(4)], dim=-2)
    longest = adjugate.diagonal(dim1=-2, dim2=-1).abs().argmax(-1)
    vector = adjugate.gather(-2, longest[..., None, None].expand(*longest.shape, 1, 4)).squeeze(-2)
    return vector / torch.linalg.vector_norm(vector, dim=-1, keepdim=True)


def best_rotation(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """The proper rotation that best maps a pose onto the truth (Horn 1987, closed form with unit quaternions).

    ``covariance`` (3, 3, ...) holds K[a, b] = sum_j pose_ja truth_jb of the centred poses. Returns R (3, 3, ...) with
    truth ~ R pose, and trace(R K) (...), the sum of K's singular values with the last one's sign set so that R is no
    reflection. Both are float64 (on the CPU for a device without it); a degenerate pose gives a valid rotation.
    """
    device = "cpu" if covariance.device.type == "mps" else covariance.device
    k = covariance.to(device, torch.float64)
    size = k.square().sum((0, 1)).sqrt()
    k = k / size.clamp_min(torch.finfo(k.dtype).tiny)
    entries = [[k[a, b] for b in range(3)] for a in range(3)]
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = entries
    det3 = xx * (yy * zz - yz * zy) - xy * (yx * zz - yz * zx) + xz * (yx * zy - yy * zx)
    n = _quaternion_matrix(entries)
    n = [[n[min(i, j)][max(i, j)] for j in range(4)] for i in range(4)]
    value = _largest_eigenvalue(n, k.square().sum((0, 1)), det3)
    w, x, y, z = _top_quaternion(n, value).unbind(-1)
    rotation = torch.stack(
        [
            1 - 2 * (y * y + z * z),
            2 * (x * y - w * z),
            2 * (x * z + w * y),
            2 * (x * y + w * z),
            1 - 2 * (x * x + z * z),
            2 * (y * z - w * x),
            2 * (x * z - w * y),
            2 * (y * z + w * x),
            1 - 2 * (x * x + y * y),
        ]
    )
    return rotation.view(3, 3, *value.shape), value * size


def similarity_align(poses: Tensor, truth: Tensor) -> Tensor:
    """Poses (..., J, 3) after the similarity that best maps each onto the truth in the least-squares sense.

    Rotation without reflection, scale and translation (Umeyama 1991, eqs. 40-42). Poses whose joints all coincide
    are moved onto the truth's centroid: the result is always finite.
    """
    check_pair(poses, truth)
    pose_mean, truth_mean = poses.mean(-2, keepdim=True), truth.mean(-2, keepdim=True)
    pose, target = poses - pose_mean, truth - truth_mean
    covariance = torch.stack(
        [torch.stack([(pose[..., a] * target[..., b]).sum(-1) for b in range(3)]) for a in range(3)]
    )
    rotation, trace = best_rotation(covariance)  # (3, 3, ...), (...)
    scale = trace / pose.square().sum((-2, -1)).clamp_min(torch.finfo(pose.dtype).tiny)
    transform = (rotation * scale).to(pose)[..., None]
    aligned = torch.empty_like(pose.expand(*trace.shape, *pose.shape[-2:]))
    for axis in range(3):
        row = transform[axis, 0] * pose[..., 0]
        row.addcmul_(transform[axis, 1], pose[..., 1]).addcmul_(transform[axis, 2], pose[..., 2])
        torch.add(row, truth_mean[..., axis], out=aligned[..., axis])
    return aligned


def scale_align(poses: Tensor, truth: Tensor) -> Tensor:
    """Root-centred poses (..., J, 3) scaled to the truth's Frobenius norm; a pose of all zeros stays one."""
    check_pair(poses, truth)
    size = poses.square().sum((-2, -1), keepdim=True).sqrt()
    scale = truth.square().sum((-2, -1), keepdim=True).sqrt() / size
    return poses * torch.where(size > 0, scale, 0)
