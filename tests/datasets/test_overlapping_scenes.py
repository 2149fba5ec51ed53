"""The variant of the embedded data set in which several shapes act: its files agree with its script."""

import csv
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.segments import segments_from_frames
from pipeline.datasets.scenes.overlapping import (
    ACTORS,
    LABEL_SPACE,
    OverlappingScene,
    make_overlapping_scenes,
    script_overlapping_scene,
)
from pipeline.datasets.scenes.script import COLORS
from pipeline.errors import InputError

SEED, NUM_VIDEOS, NUM_FRAMES = 3, 6, (60, 90)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("embedded") / "scenes_overlapping"
    make_overlapping_scenes(root, num_videos=NUM_VIDEOS, seed=SEED, num_frames=NUM_FRAMES, noise=4.0)
    return root


@pytest.fixture(scope="module")
def scenes() -> list[OverlappingScene]:
    return [script_overlapping_scene(SEED, index, num_frames=NUM_FRAMES) for index in range(NUM_VIDEOS)]


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def test_the_files_say_what_the_script_says(root, scenes):
    assert rows_of(root / "classes.csv")[:2] == [["class", "group"], ["circle_moves_left", "circle"]]
    watched = {scene.stem: scene.watched for scene in scenes if scene.watched}
    assert {stem: (int(a), int(b)) for stem, a, b in rows_of(root / "scored.csv")[1:]} == watched
    assert set(watched) == {"overlapping_001", "overlapping_005"}
    assert [row[0] for row in rows_of(root / "groups.csv")[1:]] == [scene.stem for scene in scenes]
    for scene in scenes:
        shown = np.zeros_like(scene.labels)
        for start, stop, name in rows_of(root / "labels" / f"{scene.stem}.csv")[1:]:
            shown[int(start) : int(stop), LABEL_SPACE.index(name)] = 1
        start, stop = scene.watched or (0, len(shown))
        assert not shown[:start].any()
        assert not shown[stop:].any()
        np.testing.assert_array_equal(shown[start:stop], scene.labels[start:stop])


def test_a_figure_is_in_the_pixels_where_the_script_says(root, scenes):
    for scene in scenes:
        with av.open(str(root / "videos" / f"{scene.stem}.mp4")) as container:
            frames = list(container.decode(video=0))
        np.testing.assert_allclose([frame.time for frame in frames], scene.pts_seconds, atol=1e-4)
        front, track = scene.actors[-1], scene.tracks[-1]
        for shown, x, y, radius, visible in zip(frames, *track[:3], track.visible, strict=True):
            pixels = shown.to_ndarray(format="rgb24").astype(float)
            rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]]
            inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
            distance = np.linalg.norm(pixels[inside] - COLORS[front.color], axis=1)
            share = float(np.mean(distance < 60))
            assert share > 0.15 if visible else share < 0.15, (scene.stem, shown.pts, share)


@given(seed=st.integers(0, 2**32 - 1), index=st.integers(0, 47))
@settings(max_examples=25, deadline=None)
def test_labels_are_those_of_the_tracks(seed, index):
    scene = script_overlapping_scene(seed, index, num_frames=(40, 60))
    LABEL_SPACE.check(scene.labels)
    assert 2 <= len({actor.shape for actor in scene.actors}) == len(scene.actors) <= len(ACTORS)
    assert len({actor.color for actor in scene.actors}) == len(scene.actors)
    tracks = {actor.shape: track for actor, track in zip(scene.actors, scene.tracks, strict=True)}
    for start, stop, class_index in segments_from_frames(scene.labels):
        shape, action = LABEL_SPACE.classes[class_index].split("_", 1)
        track = tracks[shape]
        steps = {
            "moves_left": -np.diff(track.x[start:stop]),
            "moves_right": np.diff(track.x[start:stop]),
            "grows": np.diff(track.radius[start:stop]),
            "shrinks": -np.diff(track.radius[start:stop]),
            "blinks": np.float64(not track.visible[start:stop].all()) * np.ones(1),
        }[action]
        assert (steps > 0).all()
    for shape in set(ACTORS) - set(tracks):
        absent = [index for index, group in enumerate(LABEL_SPACE.groups) if group == shape]
        assert not scene.labels[:, absent].any()


def test_classes_overlap_and_none_is_rare():
    labels = np.concatenate([script_overlapping_scene(0, i, num_frames=NUM_FRAMES).labels for i in range(48)])
    shares = np.bincount(labels.sum(axis=1), minlength=4) / len(labels)
    assert shares[2:].sum() > 0.5, "two classes or more at the same time"
    assert shares[0] > 0.01
    assert labels.mean(axis=0).min() > 0.04


def test_the_same_seed_gives_the_same_bytes_and_more_videos_change_none(tmp_path):
    for name, num_videos, seed in (("once", 2, 5), ("again", 2, 5), ("more", 3, 5), ("other", 2, 6)):
        make_overlapping_scenes(tmp_path / name, num_videos=num_videos, seed=seed, num_frames=(20, 30), noise=4.0)
    once, again, more, other = (
        {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*.*"))}
        for folder in (tmp_path / name for name in ("once", "again", "more", "other"))
    )
    assert once == again
    own = [name for name in once if name.startswith(("videos", "labels"))]
    assert len(own) == 4
    assert all(more[name] == once[name] for name in own)
    assert not {other[name] for name in own} & {once[name] for name in own}


def test_an_existing_data_set_is_never_overwritten(tmp_path):
    (tmp_path / "scenes").mkdir()
    (tmp_path / "scenes" / "mine.txt").touch()
    with pytest.raises(InputError, match="it exists already"):
        make_overlapping_scenes(tmp_path / "scenes", num_videos=1, seed=0, num_frames=(20, 30), noise=4.0)
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]
