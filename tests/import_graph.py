"""Which module of the project imports which, read from the source without running it.

A room is what lies right below `pipeline/`: a folder, or a single file.
"""

import ast
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline"

Graph = Mapping[str, set[str]]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else module


@cache
def imports_of(module: str) -> frozenset[str]:
    """The modules that `module` imports, also inside of its functions; `from package import module` is the module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            inside = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in inside if name in MODULES}
            if not inside <= MODULES.keys():
                found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return frozenset(found)


def module_graph() -> dict[str, set[str]]:
    """Each module of the project with those that it imports."""
    return {module: {name for name in imports_of(module) if name in MODULES} - {module} for module in MODULES}


def room_graph() -> dict[str, set[str]]:
    """Each room with those that its modules import."""
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
    """How many nodes the longest way down from each has, itself included; the graph has no circle."""
    found: dict[str, int] = {}

    def level(node: str) -> int:
        if node not in found:
            found[node] = 1 + max(map(level, graph[node]), default=0)
        return found[node]

    for node in graph:
        level(node)
    return found


def closure_of(module: str) -> set[str]:
    """The modules of the project that `module` needs, itself included, each with the packages that it lies in."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in MODULES:
            continue
        seen.add(name)
        waiting += imports_of(name)
    return seen


def dvc_deps_of(module: str) -> set[str]:
    """What dvc.yaml must list for a stage: packages as folders; of the top level and of stages/, single files."""
    deps = set()
    for name in closure_of(module):
        path = MODULES[name].relative_to(ROOT)
        if len(path.parts) == 2 or path.parts[1] == "stages":
            deps.add(path.as_posix())
        else:
            deps.add("/".join(path.parts[:2]))
    return deps - {"pipeline/__init__.py"}
