"""Values appear unchanged in pages, missing values are errors, and templates are installed with the package."""

import tomllib
from html import unescape

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from import_graph import ROOT

from pipeline.drawing.page import TEMPLATES, make_page

NAMES = sorted(path.name for path in TEMPLATES.iterdir())
SAMPLE = {"picture": "", "name": "", "probability": 0.5, "references": ["one", "two"]}


@given(st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1))
def test_text_is_escaped(text):
    page = "".join(
        make_page("captions.html", split="val", samples=[SAMPLE | {"caption": text, "references": [text] * 2}])
    )
    shown = page.split("<b>")[1].split("</b>")[0]
    assert not set("<>\"'") & set(shown)
    assert unescape(shown) == text
    assert page.count(f"{shown}<br>{shown}</td>") == 1


@pytest.mark.parametrize("template", NAMES)
def test_a_missing_value_of_a_template_is_an_error(template):
    with pytest.raises(jinja2.UndefinedError):
        list(make_page(template))


def test_templates_are_installed_with_the_package():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    folder = TEMPLATES.parent
    installed = {path.name for pattern in settings["pipeline.drawing"] for path in folder.glob(pattern)}
    assert installed == set(NAMES)
