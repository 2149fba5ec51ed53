"""A real browser, and small data sets for the studio."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from made_studio import chromium, launching
from made_videos import make_video
from playwright.sync_api import Browser

__all__ = ["make_video"]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium for all tests; give `made_studio.opened` a page of it. Without one, the test is skipped."""
    if chromium() is None:
        pytest.skip("Chromium is not installed")
    with launching() as browser:
        yield browser


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """An empty data set: a folder with a folder for videos."""
    (tmp_path / "dataset" / "videos").mkdir(parents=True)
    return tmp_path / "dataset"
