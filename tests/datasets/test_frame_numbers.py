"""Whole seconds, inclusive stops and counting from 1 give a warning, and good labels none."""

import numpy as np
import pytest

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.read import read_annotation
from pipeline.datasets.frame_numbers import find_doubtful_numbers
from pipeline.datasets.manifest import Source

SPACE = LabelSpace(("walk", "rest", "groom"))


def warnings_of(tmp_path, *videos, frame_rate="30"):
    """Warnings about videos, each the number of its frames and its rows (start, stop)."""
    sources, labels, tables = {}, {}, {}
    for index, (num_frames, rows) in enumerate(videos):
        stem, path = f"v{index}", tmp_path / f"v{index}.csv"
        named = (f"{start},{stop},{SPACE.classes[i % 3]}\n" for i, (start, stop) in enumerate(rows))
        path.write_text("start,stop,class\n" + "".join(named))
        sources[stem] = Source(stem, f"{stem}.mp4", stem, num_frames, frame_rate)
        labels[stem] = read_annotation(path, SPACE, num_frames=num_frames)
        tables[stem] = path
    found = find_doubtful_numbers(sources, labels, tables, SPACE)
    return [f"{problem.path.stem}: {problem.message}" for problem in found]


GOOD = (1200, [(0, 360), (360, 750), (750, 1200)])
SECONDS = (1200, [(0, 12), (12, 25), (25, 40)])
INCLUSIVE = (1200, [(0, 359), (360, 749), (750, 1199)])
LAST_FRAME = "is stop the last frame? It must be the one after"


@pytest.mark.parametrize("videos", [[SECONDS], [SECONDS, GOOD], [(1200, [(3, 5), (20, 39)])]])
def test_whole_seconds_are_named(tmp_path, videos):
    (warning,) = warnings_of(tmp_path, *videos)
    stop = videos[0][1][-1][1]
    remedy = "Then name the columns start_seconds and stop_seconds"
    assert warning == f"v0: the labels end at frame {stop} of 1200, {stop / 30:.1f} s: are these seconds? {remedy}"


def test_whole_seconds_in_all_files_are_named_also_where_they_end_early(tmp_path):
    assert warnings_of(tmp_path, (1200, [(2, 9)])) == []
    assert len(warnings_of(tmp_path, (1200, [(2, 9)]), (3000, [(4, 30)]))) == 2


def test_seconds_of_features_are_known_by_the_usual_rates(tmp_path):
    (warning,) = warnings_of(tmp_path, SECONDS, frame_rate=None)
    assert warning == "v0: the labels end at frame 40 of 1200: are these seconds?"
    assert warnings_of(tmp_path, (1200, [(0, 70)]), frame_rate=None) == []
    assert warnings_of(tmp_path, (1, [(0, 1)]), frame_rate=None) == [], "all of a file with a single frame"
    assert warnings_of(tmp_path, (250, [(4, 10)]), frame_rate=None) == [], "one early event"


def test_stops_that_are_the_last_frame_are_named(tmp_path):
    (warning,) = warnings_of(tmp_path, INCLUSIVE)
    assert warning == f"v0: between all segments lies exactly one frame: {LAST_FRAME}"
    assert len(warnings_of(tmp_path, INCLUSIVE, GOOD)) == 1
    with_pause = (1200, [(0, 359), (360, 749), (750, 899), (950, 1000)])
    assert "between most segments" in warnings_of(tmp_path, with_pause)[0]
    two_segments = [(120, [(0, 59), (60, 119)]), (150, [(0, 9), (10, 149)])]
    assert len(warnings_of(tmp_path, *two_segments)) == 2
    one_segment = [(120, [(0, 119)]), (150, [(20, 149)])]
    assert warnings_of(tmp_path, *one_segment) == [
        f"v{i}: the labels end one frame before the video, in all files: {LAST_FRAME}" for i in (0, 1)
    ]


def test_counting_from_1_is_named(tmp_path):
    (warning,) = warnings_of(tmp_path, (1200, [(1, 360), (361, 750), (751, 1200)]))
    assert warning.endswith(f"{LAST_FRAME}; and is the first frame 1? It must be 0")
    (warning,) = warnings_of(tmp_path, (1200, [(1, 361), (361, 900)]))
    assert warning == "v0: the first label is at frame 1: is the first frame 1? It must be 0"


def test_good_labels_give_no_warning(tmp_path):
    generator = np.random.default_rng(0)
    assert warnings_of(tmp_path, GOOD) == []
    assert warnings_of(tmp_path, (1200, [(1, 360), (360, 750)]), GOOD) == []
    assert warnings_of(tmp_path, (1200, [(0, 359), (359, 749), (750, 1199)])) == []
    assert warnings_of(tmp_path, (1200, [(100, 101), (102, 103), (700, 710), (800, 810)])) == []
    assert warnings_of(tmp_path, (30, [(0, 10), (10, 30)]), (40, [(0, 40)]), frame_rate="1") == []
    assert warnings_of(tmp_path, (100, [])) == []
    videos = []
    for _ in range(100):  # rare events, whose numbers are chance
        cuts = np.unique(generator.integers(0, 3000, size=6))
        videos.append((3000, list(zip(cuts[::2].tolist(), cuts[1::2].tolist(), strict=False))))
    assert warnings_of(tmp_path, *videos) == []


OVERLAPPING = LabelSpace(("eats", "sleeps", "rears"), groups=("state", "state", "posture"))
NEXT = [(0, 360, "eats"), (360, 750, "sleeps"), (750, 1200, "eats")]
LAST = [(start, stop - 1, name) for start, stop, name in NEXT]
REARS = [(300, 390, "rears"), (600, 700, "rears"), (740, 760, "rears"), (1000, 1010, "rears")]


def warnings_of_groups(tmp_path, rows):
    path = tmp_path / "v0.csv"
    path.write_text("start,stop,class\n" + "".join(f"{start},{stop},{name}\n" for start, stop, name in rows))
    labels = read_annotation(path, OVERLAPPING, num_frames=1200)
    source = Source("v0", "v0.mp4", "v0", 1200, "30")
    return [
        problem.message for problem in find_doubtful_numbers({"v0": source}, {"v0": labels}, {"v0": path}, OVERLAPPING)
    ]


def test_where_classes_overlap_the_segments_of_each_group_are_compared(tmp_path):
    of_group = f"between all segments of a group lies exactly one frame: {LAST_FRAME}"
    assert warnings_of_groups(tmp_path, [*LAST, *REARS]) == [of_group]
    assert warnings_of_groups(tmp_path, LAST) == [of_group.replace(" of a group", "")], "nothing overlaps"
    assert warnings_of_groups(tmp_path, [*NEXT, *REARS]) == []
    assert warnings_of_groups(tmp_path, [*LAST[:2], NEXT[2], (100, 200, "rears"), (201, 390, "rears")]) == [of_group]
    assert warnings_of_groups(tmp_path, [*NEXT, (100, 200, "rears"), (201, 390, "rears"), (391, 400, "rears")]) == []
