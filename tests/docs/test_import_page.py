"""docs/users/import.md lists every format of another program, and whether it is read and written."""

from import_graph import ROOT

from pipeline.annotations.foreign.registry import FOREIGN_FORMATS


def test_the_table_has_a_row_for_each_format() -> None:
    lines = (ROOT / "docs" / "users" / "import.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("| `")]
    of_formats = [row for row in rows if len(row) == 4]
    assert [(row[0], row[2], row[3]) for row in of_formats] == [
        (f"`{layout.name}`", "yes" if layout.read else "no", "yes" if layout.write else "no")
        for layout in FOREIGN_FORMATS
    ]
