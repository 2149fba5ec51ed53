"""A network in two halves: the early layers, whose maps are large, and the late ones, whose weights are."""

from collections.abc import Sequence

import torch
from torch import Tensor, fx
from torch.fx.passes.shape_prop import ShapeProp


def split(network: fx.GraphModule, image: Tensor, *, stride: int) -> tuple[fx.GraphModule, fx.GraphModule] | None:
    """(early, late), with late(early(images)) = network(images) and the network's own weights in both.

    They part at the last place inside where one map [N, C, h, w] is all that goes on, and its cells are at most
    `stride` pixels of `image` [1, 3, H, W] apart. None where there is no such place, as in a vision transformer.
    """
    with torch.no_grad():
        ShapeProp(network).propagate(image)
    nodes = list(network.graph.nodes)
    places = [
        index
        for index, node in enumerate(nodes[:-2])  # behind these come the last layer and the output
        if _is_map(node, image, stride=stride) and _is_all_that_goes_on(node, nodes[: index + 1])
    ]
    return (_early(network, nodes[: places[-1] + 1]), _late(network, nodes[places[-1] :])) if places else None


def _is_map(node: fx.Node, image: Tensor, *, stride: int) -> bool:
    shape: Sequence[int] = getattr(node.meta.get("tensor_meta"), "shape", ())
    is_map = node.op != "placeholder" and len(shape) == 4
    return is_map and all(stride * cells >= pixels for cells, pixels in zip(shape[2:], image.shape[2:], strict=True))


def _is_all_that_goes_on(node: fx.Node, until: list[fx.Node]) -> bool:
    """Whether of the nodes up to this one no other is read behind it."""
    known = set(until)
    return all(one is node or known.issuperset(one.users) for one in until)


def _early(network: fx.GraphModule, nodes: list[fx.Node]) -> fx.GraphModule:
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in nodes:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    graph.output(copies[nodes[-1]])
    return fx.GraphModule(network, graph)


def _late(network: fx.GraphModule, nodes: list[fx.Node]) -> fx.GraphModule:
    graph = fx.Graph()
    copies = {nodes[0]: graph.placeholder("maps")}
    for node in nodes[1:]:
        copies[node] = graph.node_copy(node, copies.__getitem__)
    return fx.GraphModule(network, graph)
