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
from collections.abc import Iterator
from functools import cached_property
from importlib.util import resolve_name
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = "pipeline"
NOT_DATA = (".py", ".pyc")


class SourceTree:
    """The source of the package `pipeline` below a folder.

    Each file is parsed only once, so that later edits are not noticed.

    Args:
        root: The folder that contains the package; by default the one that this code was imported from.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self._trees: dict[str, ast.Module] = {}
        self._imports: dict[tuple[str, bool], frozenset[str]] = {}
        self._names: dict[str, frozenset[str]] = {}

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

    def _nodes(self, module: str, *, for_types: bool) -> Iterator[ast.AST]:
        if module not in self._trees:
            self._trees[module] = ast.parse(self.modules[module].read_bytes())
        waiting: list[ast.AST] = [self._trees[module]]
        while waiting:
            node = waiting.pop()
            yield node
            if isinstance(node, ast.If) and not for_types and _is_type_checking(node.test):
                waiting += node.orelse
            else:
                waiting += ast.iter_child_nodes(node)

    def imports_of(self, module: str, *, for_types: bool = False) -> frozenset[str]:
        """Find the modules that a module imports, of this package and others, without the packages that contain them.

        Args:
            module: The dotted name of a module of this tree.
            for_types: Whether imports below `if TYPE_CHECKING:` count too.

        Returns:
            Dotted names. For `from a import b` this is `a.b` if that is a module of this tree, otherwise `a`.
        """
        if (module, for_types) not in self._imports:
            self._imports[module, for_types] = frozenset(self._find_imports(module, for_types=for_types))
        return self._imports[module, for_types]

    def _find_imports(self, module: str, *, for_types: bool) -> set[str]:
        found: set[str] = set()
        is_package = self.modules[module].name == "__init__.py"
        package = module if is_package else module.rpartition(".")[0]
        for node in self._nodes(module, for_types=for_types):
            if isinstance(node, ast.ImportFrom):
                source = resolve_name("." * node.level + (node.module or ""), package)
                inside = {f"{source}.{alias.name}" for alias in node.names}
                found |= inside & self.modules.keys()
                if not inside <= self.modules.keys():
                    found.add(source)
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        return found

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
        found = {path for path in self.data_files if any(path.name in self._named_in(name) for name in closure)}
        waiting = list(found)
        while waiting:
            text = waiting.pop().read_bytes()
            included = {path for path in self.data_files if path.name.encode() in text} - found
            found |= included
            waiting += included
        return found | {self.modules[name] for name in closure}

    def _named_in(self, module: str) -> frozenset[str]:
        """Return the strings in a module's source, each from its last `/` on: some are names of data files."""
        if module not in self._names:
            self._names[module] = frozenset(
                node.value.rpartition("/")[2]
                for node in self._nodes(module, for_types=True)
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            )
        return self._names[module]

    def fingerprint_of(self, module: str) -> str:
        """Return a hex digest over the names and contents of `files_of` a module; any edit of a file changes it."""
        digest = hashlib.sha256()
        for path in sorted(self.files_of(module)):
            content = path.read_bytes()
            digest.update(f"{path.relative_to(self.root).as_posix()}\0{len(content)}\0".encode() + content)
        return digest.hexdigest()


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
