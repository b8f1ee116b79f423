"""HRNet-W32, the 2D detector of the published pipeline."""

from models.hrnet.network import (
    IMAGE_MEAN,
    IMAGE_SIZE,
    IMAGE_STD,
    PRECISIONS,
    WEIGHT_FILES,
    WEIGHTS_FOLDER,
    Detector,
    HRNet,
    load_hrnet,
    weights_path,
)

__all__ = [
    "IMAGE_MEAN",
    "IMAGE_SIZE",
    "IMAGE_STD",
    "PRECISIONS",
    "WEIGHTS_FOLDER",
    "WEIGHT_FILES",
    "Detector",
    "HRNet",
    "load_hrnet",
    "weights_path",
]
