"""The trunk of a network is what an encoder keeps of it: the layers up to the features.

Shapes: N images, C channels, h x w cells, F features.
"""

import torch
from torch import fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn.functional import adaptive_avg_pool2d

from pipeline.errors import InputError
from pipeline.models.encoders.encoder import Normalization
from pipeline.models.encoders.stages import stages_of


class _Tracer(fx.Tracer):
    """Does not trace into torchvision's operations: that is not needed, and for some of them not possible."""

    proxy_buffer_attributes = True  # otherwise maxvit's tables of positions become constants and lose their names

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return m.__module__.startswith("torchvision.ops") or super().is_leaf_module(m, module_qualified_name)


def trunk_to_classifier(model: nn.Module, name: str, grid: int) -> fx.GraphModule:
    """Return a network without its classifier.

    Its output is the classifier's input: features [N, F], or a map [N, C, h, w] where the classifier is a convolution
    (squeezenet). With grid > 1 its output is the map that the pooling before the classifier reads; a vision transformer
    has none. Layers that behave differently in training (dropout, batch norm) are modules, and still do.

    Args:
        model: The network, in evaluation mode.
        name: The name of the encoder, for messages.
        grid: See `build_encoder`.

    Raises:
        InputError: The grid is above 1, and the network has no map.
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


def trunk_to_stride(model: nn.Module, name: str, stride: int, expects: Normalization) -> fx.GraphModule:
    """Return a network up to its last map [N, C, h, w] whose cells are `stride` pixels apart.

    Args:
        model: The network, in evaluation mode.
        name: The name of the encoder, for messages.
        stride: See `build_encoder`.
        expects: The images that the network expects.

    Raises:
        InputError: The network has no such map.
    """
    graph = _Tracer().trace(model)
    height, width = (-(-side // stride) for side in expects.size)
    maps = [node for node, shape in _maps(graph, model, expects).items() if tuple(shape[2:]) == (height, width)]
    if not maps:
        raise InputError(f"encoder {name} has no feature map with cells {stride} pixels apart: stride={stride}")
    return _ending_with(maps[-1], graph, model)


def trunk_to_stage(model: nn.Module, name: str, stage: str, expects: Normalization) -> fx.GraphModule:
    """Return a network up to the output of a stage, a map [N, C, h, w].

    Args:
        model: The network, in evaluation mode.
        name: The name of the encoder, for messages.
        stage: See `build_encoder`.
        expects: The images that the network expects.

    Raises:
        InputError: The network has no such stage, or it gives no map.
    """
    graph = _Tracer().trace(model)
    maps = _maps(graph, model, expects)
    stages = stages_of(model)
    last = {stage: node for node in graph.nodes for stage in stages if _is_within(node, stage)}
    giving_maps = [stage for stage, node in last.items() if node in maps]
    if stage not in giving_maps:
        raise InputError(
            f"encoder.last_stage: got {stage!r}, expected a stage of {name} that gives a feature map:"
            f" {', '.join(giving_maps)}"
        )
    return _ending_with(last[stage], graph, model)


def _maps(graph: fx.Graph, model: nn.Module, expects: Normalization) -> dict[fx.Node, torch.Size]:
    """Return the shapes [N, C, h, w] of all feature maps that a network computes, in order."""
    with torch.no_grad():
        ShapeProp(fx.GraphModule(model, graph)).propagate(torch.zeros(1, 3, *expects.size))
    shapes = {node: getattr(node.meta.get("tensor_meta"), "shape", torch.Size()) for node in graph.nodes}
    return {node: shape for node, shape in shapes.items() if len(shape) == 4}


def _is_within(node: fx.Node, stage: str) -> bool:
    """Return whether a node is computed by a stage."""
    return any(path == stage or path.startswith(f"{stage}.") for path in node.meta.get("nn_module_stack", {}))


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
