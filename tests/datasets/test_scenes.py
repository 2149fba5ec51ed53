"""The embedded data set is correct: its files, read by other code, agree with its labels and captions."""

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

from pipeline.annotations.classes import read_class_list
from pipeline.annotations.label_space import IGNORE_INDEX
from pipeline.annotations.read import read_annotation
from pipeline.datasets.scenes import write
from pipeline.datasets.scenes.script import (
    CLASSES,
    COLORS,
    FRAME_RATES,
    LABEL_SPACE,
    LANDMARK_RADIUS,
    SHAPES,
    SIZES,
    Scene,
    script_scene,
)
from pipeline.datasets.scenes.write import (
    draw_frames,
    image_captions,
    image_fact,
    make_scenes,
    script_still,
    segment_caption,
)
from pipeline.errors import InputError
from pipeline.video.image import read_image

SEED = 3
NUM_VIDEOS = 10
NUM_IMAGES = 40
NUM_FRAMES = (60, 90)
INK = (24, 24, 30)
RELATION = "above|below|to the left of|to the right of"
SIGNS = {"above": (0, -1), "below": (0, 1), "to the left of": (-1, 0), "to the right of": (1, 0)}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("embedded") / "scenes"
    make_scenes(root, num_videos=NUM_VIDEOS, num_images=NUM_IMAGES, seed=SEED, num_frames=NUM_FRAMES, noise=5.0)
    return root


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [script_scene(SEED, index, num_frames=NUM_FRAMES) for index in range(NUM_VIDEOS)]


@pytest.fixture(scope="module")
def decoded(root: Path, scenes: list[Scene]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Pixels uint8 [T,H,W,3] and pts in seconds [T] of each video, read from the file by PyAV."""
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

    The hull is found by its colour. The area is 0 and the rest NaN where the actor is not visible.
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


def test_the_files_have_the_layout_of_a_data_set(root: Path, scenes: list[Scene]) -> None:
    names = {path.name for path in root.iterdir()}
    assert names == {"videos", "labels", "images", "classes.txt", "groups.csv", "captions.csv", "video_captions.csv"}
    stems = [f"scene_{index:03d}" for index in range(NUM_VIDEOS)]
    assert sorted(path.name for path in (root / "videos").iterdir()) == [f"{stem}.mp4" for stem in stems]
    assert read_class_list(root / "classes.txt").names == CLASSES
    assert [row["stem"] for row in read_rows(root / "groups.csv")] == stems
    for scene in scenes:
        labels = read_annotation(root / "labels" / f"{scene.stem}.csv", LABEL_SPACE, num_frames=len(scene.labels))
        np.testing.assert_array_equal(labels, scene.labels)
        assert 0 < np.mean(labels == IGNORE_INDEX) < 0.15
    images = [f"still_{index:05d}.jpg" for index in range(NUM_IMAGES)]
    assert sorted(path.name for path in (root / "images").iterdir()) == images
    assert list(dict.fromkeys(row["image"] for row in read_rows(root / "captions.csv"))) == images


def test_videos_have_the_size_and_pts_of_the_script(
    root: Path, scenes: list[Scene], decoded: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    for scene, (pixels, pts_seconds) in zip(scenes, decoded, strict=True):
        assert pixels.shape == (len(scene.labels), scene.height, scene.width, 3)
        np.testing.assert_allclose(pts_seconds - pts_seconds[0], scene.pts_seconds, atol=1e-3)
    steps = [np.diff(scene.pts_seconds) * float(scene.frame_rate) for scene in scenes]
    assert [bool(np.ptp(step) > 0.5) for step in steps] == [index == 3 for index in range(NUM_VIDEOS)]
    with av.open(str(root / "videos" / "scene_002.mp4")) as container:
        assert container.streams.video[0].codec_context.name == "h264"


def test_the_actor_is_where_the_script_says(scenes: list[Scene], decoded: list[tuple[np.ndarray, np.ndarray]]) -> None:
    for scene, (pixels, _) in zip(scenes, decoded, strict=True):
        x, y, area, angle = measure(pixels, scene).T
        np.testing.assert_array_equal(area > 0, scene.track.visible)
        distance = np.hypot(x - scene.track.x, y - scene.track.y)[scene.track.visible]
        turned = np.abs(np.angle(np.exp(1j * (angle - scene.track.angle))))[scene.track.visible]
        assert (distance / scene.track.radius[scene.track.visible]).mean() < 0.25, (
            scene.stem
        )  # a triangle loses its tips
        assert np.median(turned) < 0.15, scene.stem


def test_labels_match_the_movement_in_the_pixels(
    scenes: list[Scene], decoded: list[tuple[np.ndarray, np.ndarray]]
) -> None:
    """A rule of thumb that reads only the decoded pixels of a segment finds its class."""
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


def test_captions_are_true_for_their_image(root: Path) -> None:
    rows = read_rows(root / "captions.csv")
    assert set(Counter(row["image"] for row in rows).values()) == {write.CAPTIONS_PER_IMAGE}
    assert len({(row["image"], row["caption"]) for row in rows}) == len(rows)
    for row in rows:
        scene, frame, _ = script_still(SEED, int(row["image"][6:11]))
        assert scene.track.visible[frame]
        check_words(row["caption"], scene, range(frame, frame + 1), needs_relation=True)
        assert not re.search(r"mov|grow|shrink|turn|blink|shak|rest", row["caption"])  # no frame shows it
    assert {re.search(RELATION, row["caption"])[0] for row in rows} == set(SIGNS)


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
    """Check that both figures are named correctly, and that the relation of their centres holds in every frame."""
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


def test_the_figures_of_an_image_are_where_the_script_says(root: Path) -> None:
    for index in range(NUM_IMAGES):
        scene, frame, _ = script_still(SEED, index)
        pixels = read_image(root / "images" / f"still_{index:05d}.jpg")
        assert pixels.shape == (scene.height, scene.width, 3)
        ((x, y, _, angle),) = measure(pixels[None], scene)
        track = scene.track
        assert math.hypot(x - track.x[frame], y - track.y[frame]) < 0.35 * track.radius[frame], index
        assert abs(np.angle(np.exp(1j * (angle - track.angle[frame])))) < 0.3, index
        middle = pixels[round(scene.landmark_y), round(scene.landmark_x)].astype(int)
        assert np.abs(middle - COLORS[scene.landmark.color]).max() < 40, index


def test_all_captions_of_an_image_state_the_same_true_fact(root: Path) -> None:
    facts: dict[str, set] = {}
    for row in read_rows(root / "captions.csv"):
        facts.setdefault(row["image"], set()).add(image_fact(row["caption"]))
    assert len({min(of_image, key=str) for of_image in facts.values()}) > NUM_IMAGES / 2
    for image, of_image in facts.items():
        (fact,) = of_image
        assert fact is not None
        figure, relation, other = fact
        scene, frame, _ = script_still(SEED, int(image[6:11]))
        actor, landmark = (f"{figure.color} {figure.shape}" for figure in (scene.actor, scene.landmark))
        assert {figure, other} == {actor, landmark}
        dx, dy = scene.track.x[frame] - scene.landmark_x, scene.track.y[frame] - scene.landmark_y
        sign = 1 if figure == actor else -1
        x, y = SIGNS[relation]
        assert sign * (dx * x + dy * y) > 0, (image, fact)


FIGURES = st.builds("{} {}".format, st.sampled_from(sorted(COLORS)), st.sampled_from(SHAPES))
CONVERSE = {
    "above": "below",
    "below": "above",
    "to the left of": "to the right of",
    "to the right of": "to the left of",
}


def with_article(figure: str) -> str:
    return f"{'an' if figure[0] in 'aeiou' else 'a'} {figure}"


def ways_to_say(figure: str, relation: str, other: str) -> list[str]:
    figure, other = with_article(figure), with_article(other)
    return [
        f"{figure} {relation} {other}",
        f"{relation} {other} is {figure}",
        f"{figure} is {relation} {other}",
        f"{other} with {figure} {relation} it",
        f"there is {figure} {relation} {other}",
    ]


@given(figure=FIGURES, relation=st.sampled_from(sorted(CONVERSE)), other=FIGURES)
def test_every_wording_of_a_fact_states_exactly_that_fact(figure: str, relation: str, other: str) -> None:
    said = [*ways_to_say(figure, relation, other), *ways_to_say(other, CONVERSE[relation], figure)]
    facts = {image_fact(caption) for caption in said}
    assert len(facts) == 1
    assert facts <= {(figure, relation, other), (other, CONVERSE[relation], figure)}
    if figure != other:
        assert not facts & {image_fact(caption) for caption in ways_to_say(other, relation, figure)}
    for turned in set(CONVERSE) - {relation, CONVERSE[relation]}:
        assert not facts & {image_fact(caption) for caption in ways_to_say(figure, turned, other)}
    for caption in said:
        assert image_fact(caption.rpartition(" ")[0]) is None
        assert image_fact(f"{caption} and rests") is None
        assert image_fact(f"maybe {caption}") is None


def test_other_sentences_state_no_fact() -> None:
    others = ["", "a dog runs", "a red star", "above", "a red star above", "a pink star above a blue circle"]
    others += [
        "a red star near a blue circle",
        "a red star above above a blue circle",
        "A red star above a blue circle",
    ]
    scenes = [script_scene(SEED, index, num_frames=NUM_FRAMES) for index in range(10)]
    rng = np.random.default_rng(0)
    others += [segment_caption(scene, segment, rng) for scene in scenes for segment in scene.segments]
    assert {image_fact(caption) for caption in others} == {None}


@given(seed=st.integers(0, 2**32 - 1), index=st.integers(0, 100_000))
@settings(max_examples=40, deadline=None)
def test_the_figures_of_an_image_are_large_complete_and_separate(seed: int, index: int) -> None:
    scene, frame, captions = script_still(seed, index)
    assert len(captions) == write.CAPTIONS_PER_IMAGE
    x, y, radius = scene.track.x[frame], scene.track.y[frame], scene.track.radius[frame]
    landmark = (scene.landmark_x, scene.landmark_y, scene.landmark_radius)
    slack = 1e-9 * scene.width
    for cx, cy, r in ((x, y, radius), landmark):
        assert min(cx, cy) - r > -slack
        assert cx + r < scene.width + slack
        assert cy + r < scene.height + slack
    assert math.hypot(x - landmark[0], y - landmark[1]) > radius + landmark[2] - slack
    assert landmark[2] >= 1.4 * LANDMARK_RADIUS * scene.height - slack
    assert landmark[2] <= 2 * LANDMARK_RADIUS * scene.height + slack


def test_every_image_has_its_own_session() -> None:
    stills = [script_still(SEED, index)[0] for index in range(64)]
    sessions = {scene.session for scene in stills}
    assert len({session.background for session in sessions}) == 64
    assert not {session.background for session in sessions} & {
        script_scene(SEED, index, num_frames=NUM_FRAMES).session.background for index in range(96)
    }
    assert Counter((scene.width, scene.height) for scene in stills) == dict.fromkeys(SIZES, 16)
    assert {scene.actor.shape for scene in stills} == {scene.landmark.shape for scene in stills} == set(SHAPES)
    assert {scene.actor.color for scene in stills} == {scene.landmark.color for scene in stills} == set(COLORS)


def test_the_same_seed_gives_the_same_bytes_and_more_videos_change_none(tmp_path: Path) -> None:
    for name, num_videos, num_images, seed in (
        ("once", 3, 4, 5),
        ("again", 3, 4, 5),
        ("more", 4, 6, 5),
        ("other", 3, 4, 6),
    ):
        folder = tmp_path / name
        make_scenes(folder, num_videos=num_videos, num_images=num_images, seed=seed, num_frames=(20, 30), noise=4.0)
    once, again, more, other = (contents(tmp_path / name) for name in ("once", "again", "more", "other"))
    assert once == again
    own = [name for name in once if name.startswith(("videos", "labels", "images"))]
    assert len(own) == 3 + 3 + 4
    assert all(once[name] == more[name] for name in own)
    for name in ("groups.csv", "captions.csv", "video_captions.csv"):
        assert more[name].startswith(once[name])
        assert len(more[name]) > len(once[name])
    assert not {once[name] for name in own} & {other[name] for name in other}


def test_images_are_optional(tmp_path: Path) -> None:
    make_scenes(tmp_path / "scenes", num_videos=1, num_images=0, seed=0, num_frames=(16, 16), noise=0.0)
    assert list((tmp_path / "scenes" / "images").iterdir()) == []
    assert (tmp_path / "scenes" / "captions.csv").read_text() == "image,caption\n"


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_groups_have_equal_sizes_and_a_common_appearance() -> None:
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


def test_the_action_is_visible_in_movement_but_not_in_one_frame() -> None:
    """The accuracy of the nearest neighbour on the true state. No encoder of single frames can be much better."""
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


def test_a_failure_leaves_no_files_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*args: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(write, "write_csv", full_disk)
    with pytest.raises(OSError, match="no space"):
        make_scenes(tmp_path / "scenes", num_videos=1, num_images=1, seed=0, num_frames=(16, 16), noise=0.0)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_data_set_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="exists already"):
        make_scenes(tmp_path, num_videos=1, num_images=1, seed=0, num_frames=(16, 16), noise=0.0)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_all_impossible_arguments_are_refused_together(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"num_videos is 0.*num_images is -1.*num_frames is 30 to 20.*noise is -1"):
        make_scenes(tmp_path / "scenes", num_videos=0, num_images=-1, seed=0, num_frames=(30, 20), noise=-1.0)
    assert list(tmp_path.iterdir()) == []


def test_the_noise_has_the_requested_deviation() -> None:
    scene = script_scene(SEED, 0, num_frames=(40, 40))
    frames = np.stack(list(draw_frames(scene, range(40), noise=6.0, rng=np.random.default_rng(0)))).astype(float)
    corner = frames[:, :8, :8].mean(-1)  # three independent channels: the deviation of their mean is smaller by sqrt(3)
    within_frame = (corner - corner.mean(0) - corner.mean((1, 2), keepdims=True) + corner.mean()).std()
    assert within_frame == pytest.approx(6.0 * scene.session.noise_factor / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize("index", range(20))
def test_captions_mention_a_place_only_where_it_is_clear_and_visible(index: int) -> None:
    scene = script_scene(SEED, index, num_frames=(60, 60))
    rng = np.random.default_rng(0)
    for frame, captions in image_captions(scene, rng).items():
        assert scene.track.visible[frame]
        assert all(str(scene.relation(frame)) in caption for caption in captions)
    for segment in scene.segments:
        relations = {scene.relation(frame) for frame in range(segment.start, segment.stop)}
        is_clear = len(relations) == 1 and None not in relations
        assert bool(re.search(RELATION, segment_caption(scene, segment, rng))) == is_clear
