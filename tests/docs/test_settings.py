"""docs/users/settings.md is up to date with docs/make_settings.py, the code and configs/."""

import runpy

from import_graph import ROOT

from pipeline.config.params import Params
from pipeline.config.section import Section

MAKER = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))


def test_the_page_is_up_to_date():
    found = (ROOT / "docs" / "users" / "settings.md").read_text(encoding="utf-8")
    assert found == MAKER["render"](), "run `python docs/make_settings.py`"


def sections_below(base: type[Section]) -> list[type[Section]]:
    return [kind for child in base.__subclasses__() for kind in (child, *sections_below(child))]


def test_every_setting_has_a_meaning():
    sections = [
        kind for kind in sections_below(Section) if kind.__module__.startswith(Params.__module__.rpartition(".")[0])
    ]
    fields = {f"{kind.__name__}.{name}": field for kind in sections for name, field in kind.model_fields.items()}
    assert len(fields) > 50
    assert not [name for name, field in fields.items() if not field.description]


def test_every_setting_is_on_the_page():
    page = MAKER["render"]()
    for name in (
        "seed",
        "labeller.cell",
        "encoder.augmentation.shift",
        "encoder.classifier.epochs",
        "dataset.pixels.crop",
    ):
        assert f"| `{name}` |" in page
