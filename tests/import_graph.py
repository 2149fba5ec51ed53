"""The imports of the project as a graph of modules, and as a graph of rooms.

A room is a folder or a single file directly below `pipeline/`.
"""

from collections.abc import Mapping
from pathlib import Path

from pipeline.imports import SourceTree

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline"

Graph = Mapping[str, set[str]]


TREE = SourceTree()
MODULES = TREE.modules


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def imports_of(module: str) -> frozenset[str]:
    """The modules that `module` imports, also those that it imports only for types."""
    return TREE.imports_of(module, for_types=True)


def module_graph() -> dict[str, set[str]]:
    """Each module of the project with the modules that it imports."""
    return {module: {name for name in imports_of(module) if name in MODULES} - {module} for module in MODULES}


def room_graph() -> dict[str, set[str]]:
    """Each room with the rooms that its modules import."""
    rooms: dict[str, set[str]] = {room_of(module): set() for module in MODULES}
    for module, imported in module_graph().items():
        rooms[room_of(module)] |= {room_of(name) for name in imported} - {room_of(module)}
    return rooms


def circles(graph: Graph) -> list[list[str]]:
    """The groups of nodes that reach each other, by Tarjan's algorithm (1972)."""
    index: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = lowest[node] = len(index)
        stack.append(node)
        for target in graph[node]:
            if target not in index:
                visit(target)
            if target in stack:
                lowest[node] = min(lowest[node], lowest[target])
        if lowest[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in graph:
        if node not in index:
            visit(node)
    return found


def levels(graph: Graph) -> dict[str, int]:
    """The number of nodes on the longest path from each node, itself included. The graph must have no cycle."""
    found: dict[str, int] = {}

    def level(node: str) -> int:
        if node not in found:
            found[node] = 1 + max(map(level, graph[node]), default=0)
        return found[node]

    for node in graph:
        level(node)
    return found
