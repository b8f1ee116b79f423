"""HRNet-W32 against the published network's heatmaps on deterministic weights, and the loading of weight files."""

import time

import numpy as np
import pytest
import torch
from torch import nn

import models.hrnet.fused_convolution
import models.hrnet.winograd
from models.hrnet import IMAGE_MEAN, IMAGE_STD, WEIGHT_FILES, WEIGHTS_FOLDER, Detector, HRNet, load_hrnet, weights_path
from models.hrnet.fused_convolution import fuse_convolutions, is_fusion_available
from tests.support.helpers import deterministic_weights
from utils.errors import DiffPoseError


@pytest.fixture(scope="module")
def model():
    return deterministic_weights(HRNet())


@pytest.fixture(scope="module")
def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture(scope="module")
def images(vectors):
    """(2, 255, 255, 3) float32 in 0..1."""
    draws = np.random.RandomState(int(vectors("hrnet")["seed"])).uniform(0, 1, (2, 3, 255, 255)).astype(np.float32)
    np.testing.assert_array_equal(draws[:, :, :2, :4], vectors("hrnet")["image_head"])
    return draws.transpose(0, 2, 3, 1)


def difference(heatmaps, expected):
    """Largest difference, relative to the largest value."""
    expected = expected["heatmap"]
    return np.abs(heatmaps[:, :, ::8, ::8].astype(np.float64) - expected).max() / np.abs(expected).max()


def test_names_shapes_and_size_are_the_published_ones(model, vectors):
    names = [f"{name} {tuple(value.shape)}" for name, value in model.state_dict().items()]
    assert names == vectors("hrnet")["state_dict_names"].tolist()
    assert len(names) == 1754
    assert sum(parameter.numel() for parameter in model.parameters()) == 28_536_080


def test_heatmaps_are_the_published_ones(model, images, vectors):
    normalised = (torch.from_numpy(images) - torch.tensor(IMAGE_MEAN)) / torch.tensor(IMAGE_STD)
    with torch.no_grad():
        heatmaps = model(normalised.permute(0, 3, 1, 2)).numpy()
    expected = vectors("hrnet")
    assert heatmaps.shape == (2, 16, 64, 64)
    assert difference(heatmaps, expected) < 1e-5
    np.testing.assert_array_equal(heatmaps.reshape(2, 16, -1).argmax(-1), expected["argmax"])
    np.testing.assert_allclose(heatmaps.mean((2, 3)), expected["mean"], rtol=1e-4, atol=1e-2)
    np.testing.assert_allclose(heatmaps.std((2, 3)), expected["std"], rtol=1e-4)


def detector(state, precision="float32"):
    model = HRNet()
    model.load_state_dict(state)
    return Detector(model, precision=precision)


@pytest.mark.parametrize(("precision", "within"), [("float32", 1e-3), ("bfloat16", 0.05)])
def test_the_detector_gives_the_same_in_each_precision(state, images, vectors, precision, within):
    heatmaps = detector(state, precision)(255 * images)
    assert heatmaps.dtype == np.float16
    assert heatmaps.flags.c_contiguous
    assert difference(heatmaps, vectors("hrnet")) < within


@pytest.mark.parametrize("way", ["fused", "fused without tiles", "step by step"])
def test_fusing_changes_rounding_only(model, state, images, monkeypatch, way):
    if way == "fused without tiles":
        monkeypatch.setattr(models.hrnet.winograd, "FEWEST_CHANNELS", 1000)
    elif way == "step by step":
        monkeypatch.setattr(models.hrnet.fused_convolution, "is_fusion_available", lambda device, dtype: False)
    fused = HRNet()
    fused.load_state_dict(state)
    fused = fuse_convolutions(fused.eval()).to(memory_format=torch.channels_last)
    assert not any(isinstance(module, nn.BatchNorm2d | nn.Conv2d) for module in fused.modules())
    size = 255 if way == "fused" else 127  # tiles are for large maps
    batch = torch.from_numpy(images[:, :size, :size] - 0.5).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = model(batch)
        heatmaps = fused(batch)
        alone = fused(batch[1:])
    tiled = [module for module in fused.modules() if getattr(module, "_filters", None) is not None]
    if is_fusion_available("cpu", torch.float32):
        # Branches of 64, 128 and 256 channels, and the stem.
        assert len(tiled) == ((8 + 7 + 3) * 8 + 4 if way == "fused" else 0)
    within = 1e-5 * float(expected.abs().max())
    torch.testing.assert_close(heatmaps, expected, rtol=0, atol=within)
    torch.testing.assert_close(alone, expected[1:], rtol=0, atol=within)


def test_operators_that_compute_something_else_are_not_used(monkeypatch):
    check = is_fusion_available.__wrapped__
    assert not check("meta", torch.float32)
    onednn, convolve = models.hrnet.fused_convolution._onednn, models.hrnet.winograd.convolve
    if not check("cpu", torch.float32):
        pytest.skip("this PyTorch has no fused operators")
    monkeypatch.setattr(models.hrnet.fused_convolution, "_onednn", lambda *args: onednn(*args[:-2], None, False))
    assert not check("cpu", torch.float32)
    monkeypatch.setattr(models.hrnet.fused_convolution, "_onednn", onednn)
    monkeypatch.setattr(models.hrnet.winograd, "convolve", lambda *args: 1.1 * convolve(*args))
    assert not check("cpu", torch.float32)

    def missing(*args):
        raise AttributeError("no such operator")

    monkeypatch.setattr(models.hrnet.fused_convolution, "_onednn", missing)
    assert not check("cpu", torch.float32)


class Counting(Detector):
    """Answers with the images' means, the first batches last."""

    def __init__(self):
        self.device, self.threads = torch.device("cpu"), set()

    def __call__(self, images):
        self.threads.add(torch.get_num_threads())
        time.sleep(0.02 / (1 + images[0]))
        return images


def test_a_stream_keeps_the_order_and_the_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        counting, batches = Counting(), [np.array([i]) for i in range(9)]
        assert [int(result[0]) for result in counting.stream(iter(batches))] == list(range(9))
        assert counting.threads == {1}
        assert torch.get_num_threads() == 3

        def failing():
            yield batches[0]
            raise DiffPoseError("no image")

        with pytest.raises(DiffPoseError, match="no image"):
            list(counting.stream(failing()))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_no_images_give_no_heatmaps(state):
    assert detector(state)(np.empty((0,))).shape == (0, 16, 64, 64)


@pytest.mark.parametrize("form", [lambda state: state, lambda state: {"net": state, "epoch": 7}], ids=["plain", "net"])
def test_both_forms_of_weight_files_load(state, tmp_path, form):
    torch.save(form(state), tmp_path / "weights.pt")
    loaded = load_hrnet(tmp_path / "weights.pt")
    assert not loaded.training
    assert all(torch.equal(value, state[name]) for name, value in loaded.state_dict().items())


def refusal(path):
    with pytest.raises(DiffPoseError) as caught:
        load_hrnet(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    assert all(name in message for name in WEIGHT_FILES.values())
    assert str(WEIGHTS_FOLDER) in message
    return message


def test_a_missing_file_is_one_line_that_says_what_goes_where(tmp_path):
    assert "not found" in refusal(tmp_path / "fine_HRNet.pt")
    assert weights_path("orig") == WEIGHTS_FOLDER / "pose_hrnet_w32_256x256.pth"
    assert weights_path("h36m") == WEIGHTS_FOLDER / "fine_HRNet.pt"
    assert weights_path("h36m", tmp_path) == tmp_path


def test_truncated_files_are_one_line(state, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save({name: state[name] for name in list(state)[:50]}, path)
    content = path.read_bytes()
    for size in (0, 10, len(content) // 2, len(content) - 5):
        path.write_bytes(content[:size])
        assert "truncated" in refusal(path)


def test_wrong_files_are_one_line(state, tmp_path):
    path = tmp_path / "weights.pt"
    # One stored number an entry: the true shapes in a small file.
    state = {name: torch.zeros((), dtype=value.dtype).expand(value.shape) for name, value in state.items()}
    for wrong, message in (
        ({"model": {}}, "0 of 1754 entries"),
        ([1, 2], "0 of 1754 entries"),
        ({name: value for name, value in state.items() if name != "conv1.weight"}, "without 'conv1.weight'"),
        ({**state, "incre_modules.0.weight": torch.zeros(1)}, "with 'incre_modules.0.weight'"),
        ({**state, "final_layer.weight": torch.zeros(17, 32, 1, 1)}, "has shape (17, 32, 1, 1)"),
        ({**state, "final_layer.bias": torch.full((16,), torch.nan)}, "not finite"),
    ):
        torch.save(wrong, path)
        assert message in refusal(path)
    path.write_text("<html>not found</html>")
    assert "not a PyTorch weight file" in refusal(path)


class Code:
    """Pickles to a call."""

    def __reduce__(self):
        return (print, ("ran",))


def test_code_in_a_weight_file_is_refused(tmp_path, capsys):
    torch.save({"net": Code()}, tmp_path / "weights.pt")
    refusal(tmp_path / "weights.pt")
    assert "ran" not in capsys.readouterr().out
