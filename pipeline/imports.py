"""The imports of the modules of the package, and the files of which their code consists.

Both are read from the source; no module is run. The following rules decide what counts as an import, anywhere in the
source of a module, including inside a function:

- `import a.b`, `from a import b` and `from . import b` count where `a.b` is a module, together with the packages that
  contain it, as their `__init__.py` run first.
- Imports below `if TYPE_CHECKING:` do not count: they are for a type checker, and change no result.
- Imports by a name that is only known at run time (importlib) do not count. A module of the package must not be
  imported like this, and tests/test_structure.py reports where one is.

A data file in the package, such as a template, belongs to each module whose source has a string that is the file's name
or ends with `/` and its name, and to each data file that mentions its name, such as a template that includes it.
"""

import ast
import hashlib
from functools import cached_property
from importlib.util import resolve_name
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = "pipeline"
NOT_DATA = (".py", ".pyc")


class _Source(NamedTuple):
    """What the source of one module says.

    Attributes:
        imports: The modules that it imports, see `SourceTree.imports_of`.
        imports_for_types: Those that it imports below `if TYPE_CHECKING:`.
        names: Its strings, each from its last `/` on: some are names of data files.
    """

    imports: set[str]
    imports_for_types: set[str]
    names: set[str]


class SourceTree:
    """The source of the package `pipeline` below a folder.

    Each file is parsed only once, so that later edits are not noticed.

    Args:
        root: The folder that contains the package; by default the one that this code was imported from.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self._sources: dict[str, _Source] = {}

    @cached_property
    def modules(self) -> dict[str, Path]:
        """The file of each module, by the dotted name of the module."""
        return {self._dotted(path): path for path in sorted((self.root / PACKAGE).rglob("*.py"))}

    @cached_property
    def data_files(self) -> tuple[Path, ...]:
        """The files of the package that are not Python, without hidden ones and the empty `py.typed`."""
        paths = (path for path in sorted((self.root / PACKAGE).rglob("*")) if path.is_file())
        return tuple(p for p in paths if p.suffix not in NOT_DATA and p.name[0] != "." and p.name != "py.typed")

    def _dotted(self, path: Path) -> str:
        parts = path.relative_to(self.root).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def imports_of(self, module: str, *, for_types: bool = False) -> set[str]:
        """Find the modules that a module imports, of this package and others, without the packages that contain them.

        Args:
            module: The dotted name of a module of this tree.
            for_types: Whether imports below `if TYPE_CHECKING:` count too.

        Returns:
            Dotted names. For `from a import b` this is `a.b` if that is a module of this tree, otherwise `a`.
        """
        found = self._source_of(module)
        return found.imports | found.imports_for_types if for_types else found.imports

    def _source_of(self, module: str) -> "_Source":
        if module not in self._sources:
            self._sources[module] = self._read(module)
        return self._sources[module]

    def _read(self, module: str) -> "_Source":
        is_package = self.modules[module].name == "__init__.py"
        package = module if is_package else module.rpartition(".")[0]
        found = _Source(set(), set(), set())
        waiting: list[tuple[ast.AST, bool]] = [(ast.parse(self.modules[module].read_bytes()), False)]
        while waiting:
            node, for_types = waiting.pop()
            if isinstance(node, ast.Import | ast.ImportFrom):
                (found.imports_for_types if for_types else found.imports).update(self._imported(node, package))
            elif isinstance(node, ast.Constant):
                if isinstance(node.value, str):
                    found.names.add(node.value.rpartition("/")[2])
            elif isinstance(node, ast.If) and _is_type_checking(node.test):
                waiting += [(child, True) for child in node.body] + [(child, for_types) for child in node.orelse]
            else:
                waiting += [(child, for_types) for child in ast.iter_child_nodes(node)]
        return found

    def _imported(self, node: ast.Import | ast.ImportFrom, package: str) -> set[str]:
        if isinstance(node, ast.Import):
            return {alias.name for alias in node.names}
        source = resolve_name("." * node.level + (node.module or ""), package)
        inside = {f"{source}.{alias.name}" for alias in node.names}
        return inside if inside <= self.modules.keys() else inside & self.modules.keys() | {source}

    def closure_of(self, module: str) -> set[str]:
        """Return the modules of this tree that run with `module`: itself, its imports, theirs, and their packages."""
        seen: set[str] = set()
        waiting = [module]
        while waiting:
            name = waiting.pop()
            if name in seen or name not in self.modules:
                continue
            seen.add(name)
            waiting += self.imports_of(name)
            if package := name.rpartition(".")[0]:
                waiting.append(package)
        return seen

    def files_of(self, module: str) -> set[Path]:
        """Return the files of the code of `module`: the sources of its closure, and the data files that these name."""
        closure = self.closure_of(module)
        names = set().union(*(self._source_of(name).names for name in closure))
        found = {path for path in self.data_files if path.name in names}
        waiting = list(found)
        while waiting:
            text = waiting.pop().read_bytes()
            included = {path for path in self.data_files if path.name.encode() in text} - found
            found |= included
            waiting += included
        return found | {self.modules[name] for name in closure}

    def fingerprint_of(self, module: str) -> str:
        """Return a hex digest over the names and contents of `files_of` a module; any edit of a file changes it."""
        digest = hashlib.sha256()
        for path in sorted(self.files_of(module)):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(self.root).as_posix()}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
