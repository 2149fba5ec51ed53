"""A network is split in two halves: the early layers have large maps, and the late ones most of the weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp


def split(network: nn.Module, image: Tensor, *, stride: int) -> tuple[fx.GraphModule, fx.GraphModule] | None:
    """Split a network at a map, so that late(early(images)) = network(images).

    Args:
        network: The network, in evaluation mode; both halves use its own weights.
        image: [1, 3, H, W], an image of the size that the network is split for.
        stride: The maximum distance of the cells of the map, in pixels of `image`.

    Returns:
        (early, late), split at the last inner place where a single map [N, C, h, w] is all that the later layers read.
        None where there is no such place, as in a vision transformer, or the network cannot be traced.
    """
    graph = network if isinstance(network, fx.GraphModule) else _traced(network, image)
    if graph is None:
        return None
    with torch.no_grad():
        ShapeProp(graph).propagate(image)
    nodes = list(graph.graph.nodes)
    places = [
        index
        for index, node in enumerate(nodes[:-2])  # the last two are the last layer and the output
        if _is_map(node, image, stride=stride) and _is_all_that_goes_on(node, nodes[: index + 1])
    ]
    return (_early(graph, nodes[: places[-1] + 1]), _late(graph, nodes[places[-1] :])) if places else None


class _Tracer(fx.Tracer):
    """Does not trace into a layer that has no layers of its own: it may look at sizes, which cannot be traced."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return not any(m.children()) or super().is_leaf_module(m, module_qualified_name)


def _traced(network: nn.Module, image: Tensor) -> fx.GraphModule | None:
    try:
        graph = fx.GraphModule(network, _Tracer().trace(network))
        with torch.no_grad():
            graph(image)
        return graph
    except Exception:  # the code of a network may do anything with what stands for a tensor while it is traced
        return None


def _is_map(node: fx.Node, image: Tensor, *, stride: int) -> bool:
    shape: Sequence[int] = getattr(node.meta.get("tensor_meta"), "shape", ())
    is_map = node.op != "placeholder" and len(shape) == 4
    return is_map and all(stride * cells >= pixels for cells, pixels in zip(shape[2:], image.shape[2:], strict=True))


def _is_all_that_goes_on(node: fx.Node, until: list[fx.Node]) -> bool:
    """Return whether no later node reads any of the nodes before this one."""
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
