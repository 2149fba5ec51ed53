import shutil
from pathlib import Path

from made_studio import opened, serving
from made_videos import MakeVideo
from playwright.sync_api import Browser


def test_the_command_serves_a_page_that_names_the_data_set(
    dataset: Path, make_video: MakeVideo, browser: Browser
) -> None:
    shutil.move(make_video(num_frames=5), dataset / "videos" / "clip.mp4")
    with serving(dataset) as studio:
        assert list(studio.ids()) == ["clip"]
        with opened(browser, studio.address) as page:
            assert page.text_content("#dataset-name") == "dataset"
        assert studio.end() == 0
    assert "".join(studio.errors) == ""
