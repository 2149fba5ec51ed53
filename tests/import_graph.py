"""Which module of the project imports which, read from the source without running it."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline"


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PACKAGE.rglob("*.py")}


def imports_of(module: str, *, lazy: bool = True) -> set[str]:
    """The modules that `module` imports; `lazy`: also inside of its functions."""
    tree = ast.parse(MODULES[module].read_text())
    nodes = ast.walk(tree) if lazy else iter(tree.body)
    found = set()
    for node in nodes:
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if f"{node.module}.{alias.name}" in MODULES}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
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
