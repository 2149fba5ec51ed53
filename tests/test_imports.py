"""The imports of a module and the files of its code, on small packages with one way to import each."""

import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.imports import ROOT, SourceTree

FILES = {
    "__init__.py": "",
    "low.py": "",
    "types_only.py": "",
    "room/__init__.py": "import pipeline.low\n",
    "room/one.py": "",
    "room/two.py": "from pipeline.room import one\n",
    "room/page.html": "{% include 'style.css' %}",
    "room/style.css": "",
    "room/unused.html": "",
    "room/.hidden": "",
}
ROOM = {"pipeline", "pipeline.low", "pipeline.room"}
MAIN = "pipeline/main.py"


def tree_of(root: Path, main: str = "") -> SourceTree:
    """Write the package FILES with a module `pipeline.main` of this source."""
    for name, text in (FILES | {"main.py": main}).items():
        (root / "pipeline" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "pipeline" / name).write_text(text)
    return SourceTree(root)


@pytest.mark.parametrize(
    ("source", "expected"),
    {
        "": {"pipeline"},
        "import os, numpy.linalg": {"pipeline"},
        "import pipeline.low": {"pipeline", "pipeline.low"},
        "import pipeline.room.one as here": ROOM | {"pipeline.room.one"},
        "from pipeline import low": {"pipeline", "pipeline.low"},
        "from pipeline.room import name": ROOM,
        "from pipeline.room import one": ROOM | {"pipeline.room.one"},
        "from pipeline.room.two import name": ROOM | {"pipeline.room.one", "pipeline.room.two"},
        "from . import low": {"pipeline", "pipeline.low"},
        "from .room.one import name": ROOM | {"pipeline.room.one"},
        "def f():\n    class C:\n        from pipeline import low": {"pipeline", "pipeline.low"},
        "try:\n    import pipeline.low\nexcept ImportError:\n    pass": {"pipeline", "pipeline.low"},
        "if TYPE_CHECKING:\n    import pipeline.types_only": {"pipeline"},
        "if typing.TYPE_CHECKING:\n    pass\nelse:\n    import pipeline.low": {"pipeline", "pipeline.low"},
        "text = 'import pipeline.low'  # import pipeline.low": {"pipeline"},
    }.items(),
)
def test_what_counts_as_an_import(tmp_path, source, expected):
    assert tree_of(tmp_path, source).closure_of("pipeline.main") == expected | {"pipeline.main"}


def test_imports_for_types_are_listed_on_request(tmp_path):
    tree = tree_of(tmp_path, "if TYPE_CHECKING:\n    import pipeline.types_only")
    assert tree.imports_of("pipeline.main") == set()
    assert tree.imports_of("pipeline.main", for_types=True) == {"pipeline.types_only"}


def test_modules_that_import_each_other_are_found_once(tmp_path):
    tree = tree_of(tmp_path, "import pipeline.low")
    (tmp_path / "pipeline" / "low.py").write_text("import pipeline.main")
    assert tree.closure_of("pipeline.main") == tree.closure_of("pipeline.low")


@pytest.mark.parametrize(
    ("source", "data"),
    [
        ("", set()),
        ("NAME = 'page'", set()),
        ("NAME = 'page.html'", {"page.html", "style.css"}),
        ("NAME = 'templates/style.css'", {"style.css"}),
    ],
)
def test_a_data_file_belongs_to_the_code_that_names_it(tmp_path, source, data):
    tree = tree_of(tmp_path, source)
    found = tree.files_of("pipeline.main")
    assert {path.name for path in found if path.suffix != ".py"} == data
    assert {path.name for path in tree.data_files} == {"page.html", "style.css", "unused.html"}


@pytest.mark.parametrize(
    ("edited", "changes"),
    {
        MAIN: True,
        "pipeline/__init__.py": True,
        "pipeline/room/one.py": True,
        "pipeline/room/style.css": True,
        "pipeline/types_only.py": False,
        "pipeline/room/two.py": False,
        "pipeline/room/unused.html": False,
        "pipeline/room/new.py": False,
    }.items(),
)
def test_the_fingerprint_changes_only_with_the_code(tmp_path, edited, changes):
    source = "import pipeline.room.one\nPAGE = 'page.html'"
    before = tree_of(tmp_path, source).fingerprint_of("pipeline.main")
    assert tree_of(tmp_path, source).fingerprint_of("pipeline.main") == before
    with (tmp_path / edited).open("a") as file:
        file.write("# edited")
    assert (SourceTree(tmp_path).fingerprint_of("pipeline.main") != before) == changes


def test_the_fingerprint_changes_when_code_moves_to_another_file(tmp_path):
    source = "import pipeline.room.one"
    (tree_of(tmp_path, source).root / "pipeline/__init__.py").write_text("a = 1\n")
    before = SourceTree(tmp_path).fingerprint_of("pipeline.main")
    (tree_of(tmp_path, source).root / "pipeline/room/one.py").write_text("a = 1\n")
    assert SourceTree(tmp_path).fingerprint_of("pipeline.main") != before


@pytest.mark.parametrize("module", ["pipeline.training.captioner", "pipeline.stages.make_scenes", "pipeline.cli.main"])
def test_every_module_that_python_loads_is_in_the_closure(module):
    """The reference is Python itself, which loads all modules that are not imported within a function."""
    show = f"import sys, {module}; print(*(name for name in sys.modules if name.split('.')[0] == 'pipeline'))"
    loaded = subprocess.run([sys.executable, "-c", show], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {module, "pipeline"} <= set(loaded.split()) <= SourceTree().closure_of(module)
