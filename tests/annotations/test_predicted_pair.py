"""What `framescribe label` writes counts as labels of a data set, also both of its files while they agree."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.annotations.frame_layout import frame_layout
from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.read import class_names_in, find_annotation, has_length, read_annotation
from pipeline.annotations.write import write_frames, write_segments

SPACE = LabelSpace(("rest", "walk"))
OVERLAPPING = LabelSpace.independent(("rest", "walk"))


def write(folder, labels, space, stem="clip"):
    probabilities = np.ones(labels.shape)
    columns = {"probabilities": probabilities, "pts_seconds": np.arange(len(labels)) / 25, "label_space": space}
    write_frames(folder / f"{stem}.frames.csv", labels, **columns)
    write_segments(folder / f"{stem}.segments.csv", labels, **columns, frame_duration_seconds=0.04)


@settings(deadline=None, max_examples=40)
@given(data=st.data(), num_frames=st.integers(1, 12))
def test_both_files_are_one_label_file_while_they_agree(tmp_path_factory, data, num_frames):
    folder = tmp_path_factory.mktemp("pair")
    space = data.draw(st.sampled_from([SPACE, OVERLAPPING]))
    shape = num_frames if space.is_exclusive else (num_frames, 2)
    flat = st.lists(st.integers(0, 1), min_size=int(np.prod(shape)), max_size=int(np.prod(shape)))
    labels = np.array(data.draw(flat), dtype=np.int64 if space.is_exclusive else np.int8).reshape(shape)
    write(folder, labels, space)
    path = find_annotation(folder, "clip", file_name="clip.mp4")
    assert path.name == "clip.frames.csv"
    for name in (path.name, "clip.segments.csv"):
        np.testing.assert_array_equal(read_annotation(folder / name, space, num_frames=num_frames), labels)
    other = 1 - labels
    write(folder, other, space, stem="other")
    (folder / "other.segments.csv").replace(folder / "clip.segments.csv")
    with pytest.raises(AnnotationError, match=r"clip\.frames\.csv: and clip\.segments\.csv both label 'clip': keep"):
        find_annotation(folder, "clip")


def test_two_label_files_of_one_video_stay_a_problem(tmp_path):
    write(tmp_path, np.array([0, 1]), SPACE)
    (tmp_path / "clip.mp4.csv").write_text("start,stop,class\n")
    with pytest.raises(AnnotationError) as caught:
        find_annotation(tmp_path, "clip", file_name="clip.mp4")
    assert str(caught.value) == (
        f"{tmp_path}/clip.mp4.csv: and clip.frames.csv and clip.segments.csv all label 'clip': keep one of them"
    )
    (tmp_path / "clip.frames.csv").unlink()
    (tmp_path / "clip.segments.csv").unlink()
    assert find_annotation(tmp_path, "clip", file_name="clip.mp4").name == "clip.mp4.csv"
    assert find_annotation(tmp_path, "clip") is None


@pytest.mark.parametrize("space", [SPACE, OVERLAPPING])
def test_frames_that_were_dropped_live_are_unlabelled(tmp_path, space):
    path = tmp_path / "clip.live.csv"
    header = ",".join(frame_layout(space).header)
    end = "" if space.is_exclusive else ",0.5"
    rows = [f"{frame},0.1,walk,0.5{end}" for frame in (1, 4)]
    path.write_text("\n".join([header, *rows]) + "\n")
    labels = read_annotation(path, space, num_frames=6)
    unknown, known = (IGNORE_INDEX, 1) if space.is_exclusive else ([IGNORE_INDEX] * 2, [0, 1])
    assert labels.tolist() == [unknown, known, unknown, unknown, known, unknown]
    assert len(read_annotation(path, space, num_frames=None)) == 5
    assert not has_length(path, space)
    assert class_names_in(path) == ({"walk"} if space.is_exclusive else {"rest", "walk"})
    with pytest.raises(
        AnnotationError, match=r"got 5 labels for 4 frames in clip\.live\.csv: the labels are of another"
    ):
        read_annotation(path, space, num_frames=4)
    path.write_text("\n".join([header, *rows[::-1]]) + "\n")
    with pytest.raises(AnnotationError, match="got frame 1, expected 5: rows are missing or not in order"):
        read_annotation(path, space, num_frames=6)


def test_frames_under_another_name_are_read(tmp_path):
    write(tmp_path, np.array([0, 1, 1]), SPACE)
    renamed = (tmp_path / "clip.frames.csv").rename(tmp_path / "clip.csv")
    assert read_annotation(renamed, SPACE, num_frames=3).tolist() == [0, 1, 1]
    assert has_length(renamed, SPACE)
