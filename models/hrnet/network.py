"""HRNet-W32, the 2D detector: an image of one person -> a heatmap for each of the 16 MPII joints.

Sun et al., "Deep High-Resolution Representation Learning for Human Pose Estimation", CVPR 2019: four branches at 1/4,
1/8, 1/16 and 1/32 of the image, added one after the other and repeatedly fused. The names of the parameters are those
of the published weight files.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.hrnet.fused_convolution import FusedConvolution, fuse_convolutions
from utils.crops import DETECTOR_SIZE
from utils.errors import DiffPoseError
from utils.precision import PRECISIONS as ALL_PRECISIONS
from utils.precision import usable_precision
from utils.skeleton import HEATMAP_SIZE, NUM_HEATMAPS
from utils.weight_files import read_weight_file, without_wrappers

IMAGE_SIZE = DETECTOR_SIZE
IMAGE_MEAN = (0.485, 0.456, 0.406)
IMAGE_STD = (0.229, 0.224, 0.225)
WIDTHS = (32, 64, 128, 256)
_BLOCKS_PER_BRANCH = 4

WEIGHTS_FOLDER = Path(__file__).resolve().parents[2] / "data" / "preprocessing" / "hrnet"
WEIGHT_FILES = {"h36m": "fine_HRNet.pt", "orig": "pose_hrnet_w32_256x256.pth"}
"""Which weights -> the published file: fine-tuned on Human3.6M, and the original of MPII."""

PRECISIONS = {name: dtype for name, dtype in ALL_PRECISIONS.items() if name != "tf32"}


def _conv(inputs: int, outputs: int, size: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2, bias=False)


def _relu_of(
    convolution: nn.Module, norm: nn.Module, x: Tensor, *, add: Tensor | None = None, relu: bool = True
) -> Tensor:
    """``relu(norm(convolution(x)) + add)``; ``add`` may be overwritten."""
    if isinstance(convolution, FusedConvolution):
        return convolution(x, add=add, relu=relu)
    y = norm(convolution(x))
    y = y if add is None else y.add_(add)
    return y.relu_() if relu else y


class _ConvNorm(nn.Sequential):
    """Convolution, batch norm, and a ReLU if wanted."""

    def __init__(self, inputs: int, outputs: int, size: int, stride: int = 1, *, relu: bool = True):
        super().__init__(_conv(inputs, outputs, size, stride), nn.BatchNorm2d(outputs))
        self._has_relu = relu

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        return _relu_of(self[0], self[1], x, add=add, relu=self._has_relu)


class Bottleneck(nn.Module):
    """Residual block of the stem: 1x1, 3x3, 1x1 convolutions with four times as many outputs as ``width``."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        outputs = 4 * width
        self.conv1, self.bn1 = _conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = _conv(width, outputs, 1), nn.BatchNorm2d(outputs)
        self.downsample = None if inputs == outputs else _ConvNorm(inputs, outputs, 1, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        residual = x if self.downsample is None else self.downsample(x)
        y = _relu_of(self.conv1, self.bn1, x)
        y = _relu_of(self.conv2, self.bn2, y)
        return _relu_of(self.conv3, self.bn3, y, add=residual)


class BasicBlock(nn.Module):
    """Residual block of a branch: two 3x3 convolutions."""

    def __init__(self, width: int):
        super().__init__()
        self.conv1, self.bn1 = _conv(width, width, 3), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = _conv(width, width, 3), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = _relu_of(self.conv1, self.bn1, x)
        return _relu_of(self.conv2, self.bn2, y, add=x)


def _path(source: int, target: int) -> nn.Module:
    """From the branch ``source`` to the width of the branch ``target``, and to its resolution where that is lower."""
    if source == target:
        return nn.Identity()
    if source > target:
        return _ConvNorm(WIDTHS[source], WIDTHS[target], 1, relu=False)
    halvings = [_ConvNorm(WIDTHS[source], WIDTHS[source], 3, 2) for _ in range(target - source - 1)]
    return nn.Sequential(*halvings, _ConvNorm(WIDTHS[source], WIDTHS[target], 3, 2, relu=False))


class Exchange(nn.Module):
    """One module of a stage: four residual blocks a branch, then each output is the sum of all branches."""

    def __init__(self, num_branches: int, num_outputs: int):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(_BLOCKS_PER_BRANCH))) for width in WIDTHS[:num_branches]
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_path(source, target) for source in range(num_branches)) for target in range(num_outputs)
        )

    def forward(self, inputs: list[Tensor]) -> list[Tensor]:
        branches = [branch(x) for branch, x in zip(self.branches, inputs, strict=True)]
        return [self._sum(branches, target).relu_() for target in range(len(self.fuse_layers))]

    def _sum(self, branches: list[Tensor], target: int) -> Tensor:
        """The sum of all branches at the width and resolution of the branch ``target``.

        From the coarsest branch upwards, so that sums are enlarged, by repeating each cell, and not every summand.
        """
        paths = self.fuse_layers[target]
        total = None
        for source in reversed(range(target + 1, len(branches))):
            total = F.interpolate(paths[source](branches[source], add=total), scale_factor=2, mode="nearest")
        total = branches[target].clone() if total is None else total.add_(branches[target])
        for (*halvings, last), x in zip(paths[:target], branches, strict=False):
            for halving in halvings:
                x = halving(x)
            total = last(x, add=total)
        return total


class HRNet(nn.Module):
    """HRNet-W32: normalised RGB images (B, 3, 255, 255) -> heatmaps (B, 16, 64, 64), MPII joints, row then column."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = _conv(3, 64, 3, 2), nn.BatchNorm2d(64)
        self.conv2, self.bn2 = _conv(64, 64, 3, 2), nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(3)))
        first = _ConvNorm(256, WIDTHS[0], 3)
        self.transition1 = nn.ModuleList([first, nn.Sequential(_ConvNorm(256, WIDTHS[1], 3, 2))])
        self.stage2 = nn.Sequential(Exchange(2, 2))
        self.transition2 = self._added_branch(2)
        self.stage3 = nn.Sequential(*(Exchange(3, 3) for _ in range(4)))
        self.transition3 = self._added_branch(3)
        self.stage4 = nn.Sequential(Exchange(4, 4), Exchange(4, 4), Exchange(4, 1))
        self.final_layer = nn.Conv2d(WIDTHS[0], NUM_HEATMAPS, 1)

    @staticmethod
    def _added_branch(index: int) -> nn.ModuleList:
        new = nn.Sequential(_ConvNorm(WIDTHS[index - 1], WIDTHS[index], 3, 2))
        return nn.ModuleList([*(nn.Identity() for _ in range(index)), new])

    def forward(self, images: Tensor) -> Tensor:
        x = _relu_of(self.conv1, self.bn1, images)  # (B, 64, 128, 128)
        x = self.layer1(_relu_of(self.conv2, self.bn2, x))  # (B, 256, 64, 64)
        branches = self.stage2([layer(x) for layer in self.transition1])
        branches = self.stage3([*branches, self.transition2[-1](branches[-1])])
        branches = self.stage4([*branches, self.transition3[-1](branches[-1])])
        return self.final_layer(branches[0])  # (B, 16, 64, 64)


def weights_path(kind: str, path: str | os.PathLike | None = None) -> Path:
    """The weight file to use: ``path``, else the published file of ``kind`` ("h36m" or "orig") in its folder."""
    return Path(path) if path else WEIGHTS_FOLDER / WEIGHT_FILES[kind]


def load_hrnet(path: str | os.PathLike) -> HRNet:
    """HRNet-W32 with the weights of a file, in evaluation mode, on the CPU.

    The file is a plain state dict (``pose_hrnet_w32_256x256.pth``) or has one under ``net`` (``fine_HRNet.pt``) or
    ``state_dict``, or holds safetensors; nothing but tensors is read from it. Raises DiffPoseError for a missing,
    damaged or foreign file, saying which file goes where.
    """
    path = Path(path)
    way_out = (
        f"put {WEIGHT_FILES['h36m']} (Human3.6M) or {WEIGHT_FILES['orig']} (MPII, --use_orig_hrnet) into "
        f"{WEIGHTS_FOLDER} or name the file with --weights; its README.md says where they come from"
    )
    if not path.is_file():
        raise DiffPoseError(f"{path}: HRNet weights not found: {way_out}")
    try:
        state = read_weight_file(path)
    except DiffPoseError as error:
        raise DiffPoseError(f"{error}; {way_out}") from None
    except Exception as error:  # torch raises half a dozen types for files that are not its own
        raise DiffPoseError(f"{path}: truncated, or not a PyTorch weight file: download it again; {way_out}") from error
    for name in ("net", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(name), dict):
            state = state[name]
    state = without_wrappers(state, path) if isinstance(state, dict) else {}
    with torch.device("meta"):  # no time for initial weights that are replaced
        model = HRNet()
    _check_state(state, model.state_dict(), path, way_out)
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    model.load_state_dict(state, assign=True)
    return model.eval()


def _check_state(state: object, expected: dict[str, Tensor], path: Path, way_out: str) -> None:
    """DiffPoseError unless ``state`` has exactly the entries of HRNet-W32 with 16 joints."""
    found = state if isinstance(state, dict) else {}
    missing = [name for name in expected if not isinstance(found.get(name), Tensor)]
    extra = [name for name in found if name not in expected]
    if missing or extra:
        example = f"without '{missing[0]}'" if missing else f"with '{extra[0]}'"
        raise DiffPoseError(
            f"{path}: not HRNet-W32 weights ({len(expected) - len(missing)} of {len(expected)} entries, "
            f"{example}): {way_out}"
        )
    for name, value in expected.items():
        if found[name].shape != value.shape:
            raise DiffPoseError(
                f"{path}: '{name}' has shape {tuple(found[name].shape)}, HRNet-W32 for the {NUM_HEATMAPS} MPII joints "
                f"has {tuple(value.shape)}: {way_out}"
            )
    broken = next((name for name, value in found.items() if not value.float().isfinite().all()), None)
    if broken is not None:
        raise DiffPoseError(f"{path}: '{broken}' holds values that are not finite: download it again; {way_out}")


class Detector:
    """HRNet ready to run over many images: convolutions fused, channels last, on ``device`` in ``precision``.

    Args:
        model: HRNet with its weights; it is changed and must not be used otherwise.
        device: where it runs.
        precision: ``float32``, ``bfloat16`` or ``float16``.
    """

    def __init__(self, model: HRNet, *, device: str | torch.device = "cpu", precision: str = "float32"):
        if precision not in PRECISIONS:
            raise DiffPoseError(f"--precision {precision}: it is one of {', '.join(PRECISIONS)}")
        self.device, self.dtype = torch.device(device), PRECISIONS[usable_precision(precision, device)]
        model = fuse_convolutions(model.eval()).to(self.device, self.dtype, memory_format=torch.channels_last)
        self._model = model.requires_grad_(False)
        self._mean = 255 * torch.tensor(IMAGE_MEAN, device=self.device)
        self._std = 255 * torch.tensor(IMAGE_STD, device=self.device)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray | Sequence[np.ndarray]) -> np.ndarray:
        """RGB images (B, 255, 255, 3), float32 in 0..255 -> heatmaps (B, 16, 64, 64) float16."""
        if not len(images):
            return np.empty((0, NUM_HEATMAPS, HEATMAP_SIZE, HEATMAP_SIZE), np.float16)
        batch = torch.from_numpy(np.ascontiguousarray(images, dtype=np.float32)).to(self.device)
        batch = ((batch - self._mean) / self._std).to(self.dtype).permute(0, 3, 1, 2)  # channels last in memory
        # float32 means float32: cuDNN would round the factors of convolutions to TF32.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            heatmaps = self._model(batch).float()
        limit = torch.finfo(torch.float16).max
        return heatmaps.clamp_(-limit, limit).half().contiguous().cpu().numpy()

    def stream(self, batches: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The heatmaps of each batch of images, in order; on the CPU of as many batches at once as PyTorch has threads.

        Cores that work on a batch each do not wait for each other after every layer, and values do not depend on
        their number. While the iterator is open, PyTorch computes with one thread in every other place too.
        """
        threads = torch.get_num_threads()
        at_once = threads if self.device.type == "cpu" else 1
        running: deque[Future[np.ndarray]] = deque()
        if self.device.type == "cpu":
            torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(at_once, "detector") as pool:
                for batch in batches:
                    running.append(pool.submit(self, batch))
                    # One more waits for the first thread that is free.
                    if len(running) > at_once:
                        yield running.popleft().result()
                while running:
                    yield running.popleft().result()
        finally:
            torch.set_num_threads(threads)
