import numpy as np
import pytest

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.write import write_frames, write_segments
from pipeline.errors import InputError
from pipeline.metrics.folders import evaluate_folders

CLASSES = ("rest", "walk", "jump")


@pytest.fixture
def folders(tmp_path):
    """A data set with one video, whose segments leave its last two frames unlabelled, and a folder for predictions."""
    truth, predicted = tmp_path / "dataset" / "labels", tmp_path / "outputs"
    truth.mkdir(parents=True)
    predicted.mkdir()
    (truth.parent / "classes.txt").write_text("\n".join(CLASSES))
    (truth / "clip.csv").write_text("start,stop,class\n0,3,rest\n3,6,walk\n")
    return truth, predicted


def predict(folder, labels, *, segments=False):
    labels = np.array(labels)
    columns = {
        "probabilities": np.ones(len(labels)),
        "pts_seconds": np.arange(len(labels)) / 25,
        "label_space": LabelSpace(CLASSES),
    }
    if segments:
        write_segments(folder / "clip.segments.csv", labels, **columns, frame_duration_seconds=0.04)
    else:
        write_frames(folder / "clip.frames.csv", labels, **columns)


@pytest.mark.parametrize("segments", [False, True])
def test_labels_of_a_data_set_are_compared_with_files_of_framescribe_label(folders, segments):
    truth, predicted = folders
    predict(predicted, [0, 0, 0, 1, 1, 0, 2, 2], segments=segments)
    report = evaluate_folders(truth, predicted, background="rest")
    assert list(report["classes"]) == list(CLASSES)
    assert report["num_frames"] == 6
    assert report["frames"]["accuracy"]["pooled"] == pytest.approx(100 * 5 / 6)


def test_frames_are_preferred_to_segments_and_other_files_are_ignored(folders):
    truth, predicted = folders
    predict(predicted, [0, 0, 0, 1, 1, 1])
    predict(predicted, [2, 2, 2, 2, 2, 2], segments=True)
    (predicted / "clip.overlay.mp4").write_bytes(b"")
    (predicted / ".hidden.frames.csv").write_bytes(b"")
    (predicted / "camera_0.live.csv").write_text("frame,time_seconds,label,probability\n4,0.1,rest,0.5\n")
    (predicted / "classes.txt").write_text("rest\n")
    assert evaluate_folders(truth, predicted)["frames"]["accuracy"]["pooled"] == 100.0


def test_without_a_class_list_the_classes_are_the_names_in_the_labels(folders):
    truth, predicted = folders
    (truth.parent / "classes.txt").unlink()
    (predicted / "clip.txt").write_text("rest\n" * 4 + "a dance\n" * 2)
    assert list(evaluate_folders(truth, predicted)["classes"]) == ["a dance", "rest", "walk"]


def test_predictions_that_end_before_the_truth_are_refused(folders):
    truth, predicted = folders
    predict(predicted, [0, 0, 0, 1])
    with pytest.raises(InputError, match="got 4 predicted labels for 6 true ones of clip"):
        evaluate_folders(truth, predicted)


def test_problems_of_all_files_are_raised_together(folders):
    truth, predicted = folders
    predict(predicted, [0, 0])
    (predicted / "other.txt").write_text("rest\nrest\n")
    (truth / "clip.csv").write_text("start,stop,class\n0,3,rset\n")
    (truth / "other.txt").write_text("rest\nwlak\n")
    with pytest.raises(AnnotationError) as caught:
        evaluate_folders(truth, predicted)
    assert [(problem.path.name, problem.line) for problem in caught.value.problems] == [
        ("clip.csv", 2),
        ("other.txt", 2),
    ]


def test_folders_without_label_files_are_refused(folders):
    truth, predicted = folders
    with pytest.raises(InputError, match=r"outputs holds no label files: expected <stem>\.frames\.csv"):
        evaluate_folders(truth, predicted)
    with pytest.raises(InputError, match=r"did you mean .*labels\?"):
        evaluate_folders(truth.parent, predicted)
    with pytest.raises(InputError, match="nowhere is not a folder"):
        evaluate_folders(truth.parent / "nowhere", predicted)


def test_videos_without_a_prediction_are_reported_and_not_scored(folders):
    truth, predicted = folders
    predict(predicted, [0, 0, 0, 1, 1, 1])
    (truth / "other.txt").write_text("rest\nwalk\n")
    report = evaluate_folders(truth, predicted)
    assert report["without_prediction"] == ["other"]
    assert report["num_videos"] == 1
    (truth / "clip.csv").rename(truth / "another.csv")
    with pytest.raises(InputError, match="do the stems differ"):
        evaluate_folders(truth, predicted)


def test_a_prediction_without_truth_is_refused(folders):
    truth, predicted = folders
    predict(predicted, [0, 0, 0, 1, 1, 1])
    (predicted / "stray.txt").write_text("rest\n")
    with pytest.raises(InputError, match="stray"):
        evaluate_folders(truth, predicted)


def test_one_class_per_video_is_compared_with_files_of_framescribe_label(folders):
    truth, predicted = folders
    predict(predicted, [0, 0, 1, 1, -100])
    path = truth.parent / "labels.csv"
    path.write_text("stem,class\nclip,walk\nother,jump\n")
    report = evaluate_folders(path, predicted)
    assert list(report["classes"]) == list(CLASSES)
    assert report["frames"]["accuracy"]["per_video"] == 50, "a frame that could not be decoded is not scored"
    assert report["without_prediction"] == ["other"]
    (truth.parent / "classes.txt").unlink()
    assert list(evaluate_folders(path, predicted)["classes"]) == ["jump", "rest", "walk"]
    path.write_text("stem,class\nclip,walk\nclip,walk\n")
    with pytest.raises(AnnotationError, match=r"labels\.csv:3: 'clip' is already on line 2"):
        evaluate_folders(path, predicted)
    path.write_text("stem,class\nother,walk\n")
    with pytest.raises(InputError, match="do the stems differ"):
        evaluate_folders(path, predicted)
