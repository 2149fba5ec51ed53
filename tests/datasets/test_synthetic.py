"""The embedded data set is what it says: its files, read back by other code, agree with its labels and its words."""

import csv
import math
import re
from collections import Counter
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.datasets import synthetic
from pipeline.datasets.scene_script import CLASSES, COLORS, FRAME_RATES, SHAPES, SIZES, Scene, script_scene
from pipeline.datasets.synthetic import draw_scene, image_captions, make_scenes, segment_caption
from pipeline.errors import InputError
from pipeline.labels.annotations import read_annotation
from pipeline.labels.classes import read_classes
from pipeline.labels.segments import IGNORE_INDEX

SEED = 3
NUM_VIDEOS = 10
NUM_FRAMES = (60, 90)
INK = (24, 24, 30)
RELATION = "above|below|to the left of|to the right of"
SIGNS = {"above": (0, -1), "below": (0, 1), "to the left of": (-1, 0), "to the right of": (1, 0)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("embedded") / "scenes"
    make_scenes(root, num_videos=NUM_VIDEOS, seed=SEED, num_frames=NUM_FRAMES, noise=5.0)
    return root


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [script_scene(SEED, index, num_frames=NUM_FRAMES) for index in range(NUM_VIDEOS)]


@pytest.fixture(scope="module")
def decoded(root: Path, scenes: list[Scene]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels uint8 [T,H,W,3] and pts in seconds [T] of each video, read from its file by PyAV."""
    videos = []
    for scene in scenes:
        with av.open(str(root / "videos" / f"{scene.stem}.mp4")) as container:
            frames = list(container.decode(video=0))
        videos.append((np.stack([f.to_ndarray(format="rgb24") for f in frames]), np.array([f.time for f in frames])))
    return videos


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def measure(pixels: np.ndarray, scene: Scene) -> np.ndarray:
    """The actor's x, y, area and the direction of its hand in each frame [T,4], from the pixels alone.

    Its hull is found by its colour; area 0 and NaN where it is not seen.
    """
    colors = [COLORS[scene.actor.color], COLORS[scene.landmark.color], scene.session.background, INK]
    colors += [tuple(0.6 * channel for channel in color) for color in colors[:2]]  # the outlines
    nearest = ((pixels[..., None, :] - np.array(colors, dtype=np.float32)) ** 2).sum(-1).argmin(-1)
    measured = []
    for named in nearest:
        kernel = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
        mask = cv2.morphologyEx((named == 0).astype(np.uint8), cv2.MORPH_OPEN, kernel)
        if np.count_nonzero(mask) < 12:
            measured.append((np.nan, np.nan, 0.0, np.nan))
            continue
        hull = cv2.convexHull(np.argwhere(mask)[:, ::-1].astype(np.int32))
        moments = cv2.moments(hull)
        x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
        inside = cv2.fillConvexPoly(np.zeros_like(mask), hull, 1) == 1
        rows, columns = np.nonzero(inside & (named == 3))
        measured.append((x, y, moments["m00"], math.atan2((columns - x).sum(), (y - rows).sum())))
    return np.array(measured)


def test_the_layout_is_that_of_a_dataset_on_disk(root: Path, scenes: list[Scene]) -> None:
    names = {path.name for path in root.iterdir()}
    assert names == {"videos", "labels", "images", "classes.txt", "groups.csv", "captions.csv", "video_captions.csv"}
    stems = [f"scene_{index:03d}" for index in range(NUM_VIDEOS)]
    assert sorted(path.name for path in (root / "videos").iterdir()) == [f"{stem}.mp4" for stem in stems]
    assert read_classes(root / "classes.txt") == CLASSES
    assert [row["stem"] for row in read_rows(root / "groups.csv")] == stems
    for scene in scenes:
        labels = read_annotation(root / "labels" / f"{scene.stem}.csv", CLASSES, num_frames=len(scene.labels))
        np.testing.assert_array_equal(labels, scene.labels)
        assert 0 < np.mean(labels == IGNORE_INDEX) < 0.15
    assert {row["image"] for row in read_rows(root / "captions.csv")} == {p.name for p in (root / "images").iterdir()}


def test_videos_have_their_size_and_pts(
    root: Path, scenes: list[Scene], decoded: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    for scene, (pixels, pts_seconds) in zip(scenes, decoded, strict=True):
        assert pixels.shape == (len(scene.labels), scene.height, scene.width, 3)
        np.testing.assert_allclose(pts_seconds - pts_seconds[0], scene.pts_seconds, atol=1e-3)
    steps = [np.diff(scene.pts_seconds) * float(scene.frame_rate) for scene in scenes]
    assert [bool(np.ptp(step) > 0.5) for step in steps] == [index == 3 for index in range(NUM_VIDEOS)]
    with av.open(str(root / "videos" / "scene_002.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"


def test_the_actor_in_the_pixels_is_where_the_script_says(
    scenes: list[Scene], decoded: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    for scene, (pixels, _) in zip(scenes, decoded, strict=True):
        x, y, area, angle = measure(pixels, scene).T
        np.testing.assert_array_equal(area > 0, scene.track.visible)
        distance = np.hypot(x - scene.track.x, y - scene.track.y)[scene.track.visible]
        turned = np.abs(np.angle(np.exp(1j * (angle - scene.track.angle))))[scene.track.visible]
        assert (distance / scene.track.radius[scene.track.visible]).mean() < 0.25, (
            scene.stem
        )  # a triangle loses its tips
        assert np.median(turned) < 0.15, scene.stem


def test_labels_name_what_the_pixels_do(scenes: list[Scene], decoded: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """A rule of thumb that sees nothing but the decoded pixels of a segment finds the class in its label."""
    seen = set()
    for scene, (pixels, _) in zip(scenes, decoded, strict=True):
        measured = measure(pixels, scene)
        for start, stop, class_index in scene.segments:
            if stop - start >= 6:
                name = CLASSES[class_index]
                seen.add(name)
                thumb = rule_of_thumb(measured[start:stop], scene.width)
                assert thumb == name, f"{scene.stem} frames {start} to {stop}"
    assert seen == set(CLASSES)


def rule_of_thumb(measured: np.ndarray, width: int) -> str:
    x, y, area, angle = measured.T
    if (area == 0).any():
        return "blinks"
    if np.abs(np.diff(x)).mean() > 0.01 * width and np.ptp(x) < 0.1 * width:
        return "shakes"
    moved = {"moves_left": x[0] - x[-1], "moves_right": x[-1] - x[0]}
    moved |= {"moves_up": y[0] - y[-1], "moves_down": y[-1] - y[0]}
    farthest = max(moved, key=lambda name: moved[name])
    if moved[farthest] > 0.01 * width * (len(x) - 1):
        return farthest
    growth = math.log(area[-1] / area[0]) / (len(area) - 1)
    if abs(growth) > 0.03:
        return "grows" if growth > 0 else "shrinks"
    return "turns" if np.median(np.abs(np.diff(np.unwrap(angle)))) > math.radians(5) else "rests"


def test_captions_are_true(root: Path, scenes: list[Scene]) -> None:
    by_stem = {scene.stem: scene for scene in scenes}
    rows = read_rows(root / "captions.csv")
    assert set(Counter(row["image"] for row in rows).values()) == {synthetic.CAPTIONS_PER_IMAGE}
    assert len(set((row["image"], row["caption"]) for row in rows)) == len(rows)
    for row in rows:
        scene, frame = by_stem[row["image"][:9]], int(row["image"][10:14])
        assert scene.track.visible[frame]
        check_words(row["caption"], scene, range(frame, frame + 1), needs_relation=True)
    assert {action for row in rows for action in re.findall(r"\b(?:moves|moving) \w+", row["caption"])}


def test_every_labelled_segment_has_a_true_caption(root: Path, scenes: list[Scene]) -> None:
    rows = read_rows(root / "video_captions.csv")
    segments = [(s.stem, str(start), str(stop)) for s in scenes for start, stop, _ in s.segments]
    assert [(row["video"], row["start"], row["stop"]) for row in rows] == segments
    for row in rows:
        scene = scenes[int(row["video"][6:9])]
        check_words(row["caption"], scene, range(int(row["start"]), int(row["stop"])), needs_relation=False)
        stem = CLASSES[scene.labels[int(row["start"])]].split("_")[0].removesuffix("s").removesuffix("e")
        assert re.search(rf"\b{stem}(s|es|ing)\b", row["caption"])


def check_words(caption: str, scene: Scene, frames: range, *, needs_relation: bool) -> None:
    """Both figures are named as they are, and the relation holds in every one of `frames`, by the centres alone."""
    figures = rf"an? ((?:{'|'.join(COLORS)}) (?:{'|'.join(SHAPES)}))"
    actor, landmark = (f"{figure.color} {figure.shape}" for figure in (scene.actor, scene.landmark))
    named = re.findall(figures, caption)
    assert sorted(named) == sorted([actor, landmark]), caption
    assert not re.search(r"\ba [aeiou]|\ban [^aeiou]|_|None", caption), caption
    relation = re.search(RELATION, caption)
    assert relation or not needs_relation, caption
    if relation is None:
        return
    # "A above B", "above B A moves", "B with A above it": B is the landmark in all of them.
    after = caption[relation.end() :]
    assert re.match(rf" an? {landmark}| it$", after), caption
    assert after != " it" or re.match(rf"an? {landmark}", caption), caption
    sign_x, sign_y = SIGNS[relation.group()]
    for frame in frames:
        dx, dy = scene.track.x[frame] - scene.landmark_x, scene.track.y[frame] - scene.landmark_y
        along, across = dx * sign_x + dy * sign_y, abs(dx * sign_y) + abs(dy * sign_x)
        assert along > 0.5 * scene.landmark_radius, caption
        assert along > 1.4 * across, caption


def test_images_are_frames_of_their_videos(
    root: Path, scenes: list[Scene], decoded: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    paths = sorted((root / "images").iterdir())
    assert len(paths) > NUM_VIDEOS
    for path in paths:
        image = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB).astype(float)
        pixels, _ = decoded[int(path.name[6:9])]
        differences = np.abs(pixels - image).mean(axis=(1, 2, 3))
        assert differences[int(path.name[10:14])] < 6
        # "Nearest" up to the frames of an action that stands still, which look alike but for noise.
        assert differences[int(path.name[10:14])] < differences.min() + 1


def test_same_seed_same_bytes_and_more_videos_change_none(tmp_path: Path) -> None:
    for name, num_videos, seed in (("once", 3, 5), ("again", 3, 5), ("more", 4, 5), ("other", 3, 6)):
        make_scenes(tmp_path / name, num_videos=num_videos, seed=seed, num_frames=(20, 30), noise=4.0)
    once, again, more, other = (contents(tmp_path / name) for name in ("once", "again", "more", "other"))
    assert once == again
    videos = [name for name in once if name.endswith((".mp4", ".jpg")) or name.startswith("labels")]
    assert all(once[name] == more[name] for name in videos)
    assert not {once[name] for name in videos} & {other[name] for name in other}


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_groups_are_even_and_share_a_look() -> None:
    scenes = [script_scene(SEED, index, num_frames=NUM_FRAMES) for index in range(48)]
    assert set(Counter(scene.session.name for scene in scenes).values()) == {4}
    assert len({scene.session.name for scene in scenes}) == len({scene.session.background for scene in scenes}) == 12
    assert all({scene.actor.color, scene.landmark.color} <= set(scene.session.palette) for scene in scenes)
    for group in range(12):
        assert len({(s.width, s.height) for s in scenes[4 * group : 4 * group + 4]}) == len(SIZES)
    assert {scene.frame_rate for scene in scenes} == set(FRAME_RATES)
    labelled = np.concatenate([scene.labels for scene in scenes])
    shares = np.bincount(labelled[labelled != IGNORE_INDEX], minlength=len(CLASSES)) / len(labelled)
    assert shares.min() > 0.03
    assert shares.max() < 0.25
    assert 0.01 < np.mean(labelled == IGNORE_INDEX) < 0.06


@given(seed=st.integers(0, 2**32 - 1), index=st.integers(0, 47), shortest=st.integers(16, 200))
@settings(max_examples=40, deadline=None)
def test_the_actor_stays_in_the_picture_and_never_jumps(seed: int, index: int, shortest: int) -> None:
    scene = script_scene(seed, index, num_frames=(shortest, shortest + 20))
    track = scene.track
    assert shortest <= len(scene.labels) <= shortest + 20
    assert np.all(np.diff(scene.pts_seconds) > 0)
    for position, length in ((track.x, scene.width), (track.y, scene.height)):
        assert np.all((position - track.radius > 0) & (position + track.radius < length))
    if index % 32 != 3:  # dropped frames are jumps
        assert np.abs(np.diff(track.x)).max() < 0.06 * scene.width
        assert np.abs(np.diff(track.y)).max() < 0.03 * scene.width
        assert np.abs(np.diff(np.log(track.radius))).max() < 0.05
    for start, stop, class_index in scene.segments:
        if CLASSES[class_index] in ("moves_left", "moves_right") and stop - start > 1:
            steps = np.diff(track.x[start:stop]) * (-1 if CLASSES[class_index] == "moves_left" else 1)
            assert steps.min() > 0.0149 * scene.width


def test_one_frame_does_not_tell_the_action_and_movement_does() -> None:
    """Nearest neighbour on the true state: what no encoder of single frames can beat by much."""
    scenes = [script_scene(SEED, index, num_frames=(60, 150)) for index in range(160)]
    seen, unseen = scenes[:120], scenes[120:]
    still = nearest_neighbour_accuracy(seen, unseen, lags=())
    moving = nearest_neighbour_accuracy(seen, unseen, lags=(-4, -3, -2, -1, 1, 2, 3, 4))
    assert still < 0.3
    assert moving > 0.9


def nearest_neighbour_accuracy(seen: list[Scene], unseen: list[Scene], *, lags: tuple[int, ...]) -> float:
    (known, known_labels), (asked, asked_labels) = states(seen, lags), states(unseen, lags)
    squares = (known**2).sum(1) - 2 * asked @ known.T
    return float(np.mean(known_labels[squares.argmin(1)] == asked_labels))


def states(scenes: list[Scene], lags: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Every third labelled frame's true state, or its differences to the frames at `lags`; and its label."""
    rows, labels = [], []
    for scene in scenes:
        track = scene.track
        state = np.stack(
            [
                track.x / scene.width,
                track.y / scene.height,
                np.log(track.radius / scene.height),
                0.3 * np.cos(track.angle),
                0.3 * np.sin(track.angle),
                track.visible,
            ],
            axis=1,
        )
        moments = np.arange(len(state))
        others = [state[np.clip(moments + lag, 0, len(state) - 1)] - state for lag in lags]
        labelled = np.flatnonzero(scene.labels != IGNORE_INDEX)[::3]
        rows.append(np.concatenate(others, axis=1)[labelled] if lags else state[labelled])
        labels.append(scene.labels[labelled])
    return np.concatenate(rows), np.concatenate(labels)


def test_a_failure_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(synthetic, "_write_csv", full_disk)
    with pytest.raises(OSError, match="no space"):
        make_scenes(tmp_path / "scenes", num_videos=1, seed=0, num_frames=(16, 16), noise=0.0)
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="exists already"):
        make_scenes(tmp_path, num_videos=1, seed=0, num_frames=(16, 16), noise=0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_arguments_that_make_no_sense_are_refused_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"num_videos is 0.*num_frames is 30 to 20.*noise is -1"):
        make_scenes(tmp_path / "scenes", num_videos=0, seed=0, num_frames=(30, 20), noise=-1.0)
    assert list(tmp_path.iterdir()) == []


def test_noise_is_the_deviation_asked_for() -> None:
    scene = script_scene(SEED, 0, num_frames=(40, 40))
    frames = np.stack(list(draw_scene(scene, noise=6.0, rng=np.random.default_rng(0)))).astype(float)
    corner = frames[:, :8, :8].mean(-1)  # three independent channels: the deviation of their mean is smaller by sqrt(3)
    within_frame = (corner - corner.mean(0) - corner.mean((1, 2), keepdims=True) + corner.mean()).std()
    assert within_frame == pytest.approx(6.0 * scene.session.noise_factor / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize("index", range(20))
def test_captions_speak_of_place_only_where_it_is_clear_and_seen(index: int) -> None:
    scene = script_scene(SEED, index, num_frames=(60, 60))
    rng = np.random.default_rng(0)
    for frame, captions in image_captions(scene, rng).items():
        assert scene.track.visible[frame]
        assert all(str(scene.relation(frame)) in caption for caption in captions)
    for segment in scene.segments:
        relations = {scene.relation(frame) for frame in range(segment.start, segment.stop)}
        is_clear = len(relations) == 1 and None not in relations
        assert bool(re.search(RELATION, segment_caption(scene, segment, rng))) == is_clear
