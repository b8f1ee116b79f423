"""Human3.6M's calibration: four cameras, placed anew for each subject."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from scipy.spatial.transform import Rotation

# Camera -> focal length (x, y) and principal point, px; radial distortion (3); tangential distortion (2).
_INTRINSICS = {
    "54138969": (
        (1145.0494, 1143.7811, 512.5415, 515.45148),
        (-0.207098917, 0.247775182, -0.003075150),
        (-0.000975699, -0.001424472),
    ),
    "55011271": (
        (1149.6757, 1147.5917, 508.84864, 508.06491),
        (-0.194213629, 0.240408540, 0.006819976),
        (-0.001619027, -0.002740894),
    ),
    "58860488": (
        (1149.1407, 1148.7990, 519.81586, 501.40265),
        (-0.208338186, 0.255488008, -0.002460497),
        (0.001484387, -0.000759999),
    ),
    "60457274": (
        (1145.5114, 1144.7739, 514.96820, 501.88202),
        (-0.198384091, 0.218323678, -0.008947807),
        (-0.000587206, -0.001813362),
    ),
}
CAMERAS = tuple(_INTRINSICS)
"""In the order of VideoPose3D's files."""

# Subject -> for each camera its orientation, a quaternion w, x, y, z, and where it stands, mm.
_PLACES = {
    "S1": (
        ((0.1407056, -0.1500702, -0.7552408, 0.6223280), (1841.1071, 4955.2847, 1563.4454)),
        ((0.6157188, -0.7648363, -0.1483383, 0.1179474), (1761.2786, -5078.0068, 1606.2650)),
        ((0.1465147, -0.1464785, 0.7653024, -0.6094176), (-1846.7777, 5215.0464, 1491.9724)),
        ((0.5834008, -0.7853162, 0.1454882, -0.1474959), (-1794.7897, -3722.6990, 1574.8927)),
    ),
    "S5": (
        ((0.1467377, -0.1623710, -0.7551893, 0.6178939), (2097.3916, 4880.9448, 1605.7324)),
        ((0.6159759, -0.7626792, -0.1572819, 0.1189815), (2031.7008, -5167.9331, 1612.9231)),
        ((0.1429137, -0.1290784, 0.7678385, -0.6110143), (-1620.5948, 5171.6587, 1496.4370)),
        ((0.5920480, -0.7814218, 0.1274749, -0.1503642), (-1637.1737, -3867.3173, 1547.0330)),
    ),
    "S6": (
        ((0.1337898, -0.1569240, -0.7571090, 0.6198879), (1935.4517, 4950.2456, 1618.0839)),
        ((0.6147197, -0.7628813, -0.1617477, 0.1181924), (1969.8040, -5128.7388, 1632.7788)),
        ((0.1529948, -0.1352913, 0.7646096, -0.6112781), (-1769.5964, 5185.3613, 1476.9934)),
        ((0.5916101, -0.7804774, 0.1283227, -0.1561594), (-1721.6687, -3884.1313, 1540.4879)),
    ),
    "S7": (
        ((0.1435242, -0.1631337, -0.7548329, 0.6188825), (1974.5129, 4926.3545, 1597.8326)),
        ((0.6141673, -0.7638263, -0.1596646, 0.1177930), (1937.0585, -5119.7900, 1631.5665)),
        ((0.1455006, -0.1287482, 0.7660517, -0.6127140), (-1741.8112, 5208.2495, 1464.8246)),
        ((0.5912848, -0.7821764, 0.1244547, -0.1519649), (-1734.7105, -3832.4214, 1548.5830)),
    ),
    "S8": (
        ((0.1411059, -0.1558987, -0.7561917, 0.6196440), (2150.6519, 4896.1612, 1611.9047)),
        ((0.6169602, -0.7647668, -0.1484635, 0.1115816), (2219.9656, -5148.4531, 1613.0441)),
        ((0.1471444, -0.1337712, 0.7670128, -0.6100370), (-1571.2215, 5137.0186, 1498.1762)),
        ((0.5927824, -0.7825871, 0.1214782, -0.1463196), (-1476.9133, -3896.7412, 1547.9722)),
    ),
    "S9": (
        ((0.1554059, -0.1554822, -0.7532095, 0.6199595), (2044.4585, 4935.1172, 1481.2275)),
        ((0.6187845, -0.7634735, -0.1413224, 0.1193397), (1990.9597, -5123.8105, 1568.8048)),
        ((0.1335783, -0.1367100, 0.7689455, -0.6100739), (-1670.9922, 5211.9858, 1528.3879)),
        ((0.5879399, -0.7823407, 0.1427614, -0.1478987), (-1696.0435, -3827.0999, 1591.4127)),
    ),
    "S11": (
        ((0.1523247, -0.1544232, -0.7547563, 0.6191070), (2098.4402, 4926.5546, 1500.2786)),
        ((0.6189449, -0.7600917, -0.1530063, 0.1255258), (2083.1824, -4912.1729, 1561.0786)),
        ((0.1494323, -0.1565023, 0.7681234, -0.6026304), (-1609.8153, 5177.3359, 1537.8967)),
        ((0.5894251, -0.7818877, 0.1399121, -0.1471536), (-1590.7380, -3854.1690, 1578.0177)),
    ),
}


@dataclass(frozen=True)
class Human36MCamera:
    """``x_camera = rotation @ x_world + offset_mm``.

    ``focal`` and ``middle`` (2,) px; distortion of the lens: ``radial`` (3,), ``tangential`` (2,).
    """

    rotation: np.ndarray
    offset_mm: np.ndarray
    focal: np.ndarray
    middle: np.ndarray
    radial: np.ndarray
    tangential: np.ndarray

    @property
    def matrix(self) -> np.ndarray:
        """The intrinsic matrix (3, 3), without the distortion."""
        (fx, fy), (cx, cy) = self.focal, self.middle
        return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])

    def to_camera(self, world_mm: np.ndarray) -> np.ndarray:
        """World positions (..., 3), mm -> x right, y down, z away."""
        return world_mm @ self.rotation.T + self.offset_mm

    def project(self, in_camera_mm: np.ndarray) -> np.ndarray:
        """Positions before the camera (..., 3) -> px (..., 2), with the lens's distortion."""
        flat = in_camera_mm[..., :2] / in_camera_mm[..., 2:]
        square = (flat**2).sum(axis=-1, keepdims=True)
        radial = 1 + square * (self.radial[0] + square * (self.radial[1] + square * self.radial[2]))
        swapped = self.tangential[::-1]  # the calibration's first number belongs to y
        tilt = (flat * swapped).sum(axis=-1, keepdims=True)
        return self.focal * (flat * (radial + tilt) + swapped * square) + self.middle


def _camera(places: tuple, name: str) -> Human36MCamera:
    (w, x, y, z), place = places[CAMERAS.index(name)]
    rotation = Rotation.from_quat([x, y, z, w]).as_matrix().T  # the quaternion turns the camera's axes to the world's
    (fx, fy, cx, cy), radial, tangential = _INTRINSICS[name]
    return Human36MCamera(
        rotation=rotation,
        offset_mm=-rotation @ np.array(place),
        focal=np.array([fx, fy]),
        middle=np.array([cx, cy]),
        radial=np.array(radial),
        tangential=np.array(tangential),
    )


_ALL: Mapping[tuple[str, str], Human36MCamera] = MappingProxyType(
    {(subject, name): _camera(places, name) for subject, places in _PLACES.items() for name in CAMERAS}
)


def camera_of(subject: str, name: str) -> Human36MCamera:
    """A subject's camera by its number, as ``54138969``."""
    return _ALL[subject, name]
