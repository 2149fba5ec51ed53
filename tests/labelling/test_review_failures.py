"""What one video costs that fails in a review, and what lies in the folder of the list."""

import os
from pathlib import Path

import pytest
from made_models import write_video

from pipeline.drawing.strips import is_strip
from pipeline.errors import ERROR_LOG, InputError
from pipeline.labelling import review
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.review import Listing, ReviewOutcome, review_files


@pytest.fixture(scope="module")
def model(video_model):
    return load_model(str(video_model), device="cpu")


@pytest.fixture
def clips(tmp_path):
    return [write_video(tmp_path / f"clip{index}.mp4", num_frames=12) for index in range(2)]


def run(paths: list[Path], model: Model, out: Path, *, top: int = 4) -> tuple[ReviewOutcome, list[str]]:
    printed: list[str] = []
    listing = Listing(top, 2, 0.2, 0.4)
    return review_files(paths, model, out, listing=listing, given={}, on_failure=printed.append), printed


@pytest.mark.parametrize("step", ["label_video", "read_strips"])
def test_whatever_one_video_raises_costs_that_video_alone(clips, model, tmp_path, monkeypatch, step):
    whole = getattr(review, step)

    def fail(path: Path, *arguments, **options):
        if path == clips[0]:
            raise RuntimeError("shapes differ")
        return whole(path, *arguments, **options)

    monkeypatch.setattr(review, step, fail)
    outcome, printed = run(clips, model, tmp_path / "out")
    assert outcome.num_failed == 1
    assert printed[0].startswith(f"{clips[0]}: ")
    assert f"RuntimeError: shapes differ (the traceback is in {tmp_path / 'out' / ERROR_LOG})" in printed[0]
    assert any(item.picture for item in outcome.listed if item.stem == "clip1")


def test_a_link_for_the_strips_is_refused_and_nothing_behind_it_is_removed(clips, model, tmp_path):
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    out.mkdir()
    (photos / "holiday_2020-07.jpg").write_text("precious")
    (out / "strips").symlink_to(photos)
    with pytest.raises(InputError, match="strips: got a link or a file, expected a folder"):
        run(clips, model, out)
    assert [path.name for path in photos.iterdir()] == ["holiday_2020-07.jpg"]


def test_only_strips_that_a_review_wrote_are_removed(clips, model, tmp_path):
    out = tmp_path / "out"
    outcome, _ = run(clips, model, out)
    strips = out / "strips"
    earlier = {Path(item.picture).name for item in outcome.listed}
    ours = next(iter(sorted(earlier)))
    assert is_strip(strips / ours)
    precious = tmp_path / "precious_1-2.jpg"
    precious.write_bytes((strips / ours).read_bytes())
    (strips / "holiday_2020-07.jpg").write_text("precious")
    (strips / "link_1-2.jpg").symlink_to(precious)
    os.mkfifo(strips / "pipe_1-2.jpg")
    (strips / "folder_1-2.jpg").mkdir()
    fewer, _ = run(clips, model, out, top=1)
    kept = {Path(item.picture).name for item in fewer.listed}
    others = {"holiday_2020-07.jpg", "link_1-2.jpg", "pipe_1-2.jpg", "folder_1-2.jpg"}
    assert {path.name for path in strips.iterdir()} == kept | others
    assert kept < earlier
    assert precious.exists()


@pytest.mark.parametrize("name", ["review.csv", "review.html"])
def test_a_folder_in_the_place_of_the_list_is_refused_before_the_work(clips, model, tmp_path, name):
    (tmp_path / "out" / name).mkdir(parents=True)
    with pytest.raises(InputError, match="got a folder, expected a file"):
        run(clips, model, tmp_path / "out")
