"""docs/users/settings.md is up to date with docs/make_settings.py, the code and configs/."""

import runpy

from import_graph import ROOT
from pydantic import BaseModel

import pipeline.config as config

MAKER = runpy.run_path(str(ROOT / "docs" / "make_settings.py"))


def test_the_page_is_up_to_date():
    found = (ROOT / "docs" / "users" / "settings.md").read_text(encoding="utf-8")
    assert found == MAKER["render"](), "run `python docs/make_settings.py`"


def test_every_setting_has_a_meaning():
    sections = [kind for kind in vars(config).values() if isinstance(kind, type) and issubclass(kind, BaseModel)]
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
