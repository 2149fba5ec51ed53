import unicodedata

import numpy as np
import pytest

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import AnnotationError
from pipeline.annotations.write import write_frames, write_segments
from pipeline.cli.main import main
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


def predict(folder, labels, *, segments=False, first_seconds=0.0):
    labels = np.array(labels)
    columns = {
        "probabilities": np.ones(len(labels)),
        "pts_seconds": first_seconds + np.arange(len(labels)) / 25,
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


def test_a_video_that_does_not_match_its_truth_costs_that_video_only(folders, capsys):
    truth, predicted = folders
    predict(predicted, [0, 0, 0, 1, 1, 1])
    for stem, true, claimed in (
        ("short", "rest\nwalk\n", "rest\n"),
        ("misspelt", "rest\n", "rset\n"),
        ("truth", "rset\n", "rest\n"),
        ("gap", "rest\nwalk\n", "rest\n\n"),
    ):
        (truth / f"{stem}.txt").write_text(true)
        (predicted / f"{stem}.txt").write_text(claimed)
    report = evaluate_folders(truth, predicted)
    assert (report["num_videos"], report["num_frames"]) == (1, 6)
    assert report["frames"]["accuracy"]["pooled"] == 100
    assert report["not_scored"] == ["gap", "misspelt", "short", "truth"]
    failures = dict(zip(report["not_scored"], report["failures"], strict=True))
    assert "1 of 2 labelled frames have no prediction: give them a class" in failures["gap"]
    assert "misspelt.txt:1: unknown class 'rset'" in failures["misspelt"]
    assert "got 1 predicted labels for 2 true ones of short" in failures["short"]
    assert "labels/truth.txt:1: unknown class 'rset'" in failures["truth"]
    arguments = ["evaluate", "--truth", str(truth), "--predicted", str(predicted)]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.err.count("not scored: ") == 4
    assert "videos 1   labelled frames 6" in printed.out
    (predicted / "clip.frames.csv").unlink()
    assert main(arguments) == 2, "no video is left"


def test_no_more_than_ten_videos_are_named_for_one_kind_of_problem(folders):
    truth, predicted = folders
    predict(predicted, [0, 0, 0, 1, 1, 1])
    for index in range(30):
        (truth / f"misspelt {index}.txt").write_text("rest\n")
        (predicted / f"misspelt {index}.txt").write_text("rset\n")
    report = evaluate_folders(truth, predicted)
    assert (len(report["not_scored"]), len(report["failures"])) == (30, 11)
    assert report["failures"][-1] == f"{predicted}: 20 more problems of the same kind, in 20 files"


def test_videos_with_labels_on_one_side_only_are_named_and_do_not_count_as_a_failure(folders, capsys):
    truth, predicted = folders
    predict(predicted, [0, 0, 0, 1, 1, 1])
    arguments = ["evaluate", "--truth", str(truth), "--predicted", str(predicted)]
    (truth / "unpredicted.txt").write_text("rest\n")
    for index in range(12):
        (predicted / f"stray{index:02}.txt").write_text("a class of nobody\n")
    report = evaluate_folders(truth, predicted)
    assert report["without_prediction"] == ["unpredicted"]
    assert report["without_truth"] == [f"stray{index:02}" for index in range(12)]
    assert (report["not_scored"], report["failures"], report["num_videos"]) == ([], [], 1)
    assert main(arguments) == 0
    printed = capsys.readouterr().err
    assert f"not scored, as {predicted} has no labels for them: unpredicted\n" in printed
    assert f"not scored, as {truth} has no labels for them: stray00, stray01" in printed
    assert "stray09 and 2 more" in printed
    (truth / "stray00.txt").write_text("rest\n")
    assert main(arguments) == 1, "it has labels on both sides, and cannot be scored"


@pytest.mark.parametrize("segments", [False, True])
@pytest.mark.parametrize("first_frame", [0, 3])
def test_labels_are_not_shifted_where_the_start_of_a_video_was_lost(folders, segments, first_frame):
    truth, predicted = folders
    predict(predicted, [0, 0, 0, 1, 1, 1, 2, 2], first_seconds=first_frame / 25, segments=segments)
    (predicted / "decode_report.csv").write_text("stem,outcome\nclip,partly\n")
    (truth / "other.txt").write_text("rest\nwalk\n")
    (predicted / "other.txt").write_text("rest\nwalk\n")
    report = evaluate_folders(truth, predicted)
    if first_frame == 0:
        assert (report["num_videos"], report["not_scored"]) == (2, [])
        assert report["frames"]["accuracy"]["pooled"] == 100
        return
    assert (report["num_videos"], report["not_scored"]) == (1, ["clip"])
    assert "cannot be compared with the true labels of clip: its first frames could not be" in report["failures"][0]
    (truth / "clip.csv").unlink()
    (truth / "clip.txt").write_text("rest\n" * 8)
    assert evaluate_folders(truth, predicted)["not_scored"] == [], "the truth says that no frame is missing"
    (truth / "clip.txt").write_text("rest\n" * 11)
    (failure,) = evaluate_folders(truth, predicted)["failures"]
    assert "got 8 predicted labels for 11 true ones of clip: its first frames could not be decoded" in failure


def test_frames_that_could_not_be_decoded_are_left_out(folders, capsys):
    truth, predicted = folders
    predict(predicted, [0, -100, 0, 1, 0, -100, -100])
    report = evaluate_folders(truth, predicted)
    assert report["frames_without_prediction"] == {"clip": 2}, "the seventh frame has no true label"
    assert report["num_frames"] == 4
    assert report["frames"]["accuracy"]["pooled"] == 75
    assert report["not_scored"] == []
    assert main(["evaluate", "--truth", str(truth), "--predicted", str(predicted)]) == 0
    assert "left out of the scores: 2 labelled frames of 1 video without a prediction" in capsys.readouterr().out
    (predicted / "clip.frames.csv").unlink()
    predict(predicted, [0, -100, 0, 1, 0, -100, -100], segments=True)
    with pytest.raises(InputError, match="got 5 predicted labels for 6 true ones"):
        evaluate_folders(truth, predicted)


@pytest.mark.parametrize(("outcome", "offset", "is_scored"), [("partly", 0, 1), ("labelled", 0, 0), ("partly", 9, 0)])
def test_frames_that_are_lost_at_the_end_are_left_out_of_a_video_that_was_labelled_in_part(
    folders, outcome, offset, is_scored
):
    truth, predicted = folders
    predict(predicted, [0, 0, 1, 1], first_seconds=offset / 25)
    (predicted / "decode_report.csv").write_text(f"stem,outcome\nclip,{outcome}\n")
    if is_scored:
        report = evaluate_folders(truth, predicted)
        assert (report["num_frames"], report["frames_without_prediction"]) == (4, {"clip": 2})
    else:
        with pytest.raises(InputError, match="got 4 predicted labels for 6 true ones"):
            evaluate_folders(truth, predicted)


def test_stems_and_classes_are_the_same_in_any_unicode_form(folders):
    truth, predicted = folders
    nfc, nfd = (unicodedata.normalize(form, "\u00e9") for form in ("NFC", "NFD"))
    (truth.parent / "classes.txt").write_text(f"{nfc}\n")
    (truth / "clip.csv").unlink()
    (truth / f"{nfd}.txt").write_text(f"{nfd}\n")
    (predicted / f"{nfc}.txt").write_text(f"{nfc}\n")
    assert evaluate_folders(truth, predicted)["frames"]["accuracy"]["pooled"] == 100
    (truth.parent / "classes.txt").unlink()
    assert len(evaluate_folders(truth, predicted)["classes"]) == 1
    (truth.parent / "labels.csv").write_text(f"stem,class\n{nfd},{nfc}\n")
    assert evaluate_folders(truth.parent / "labels.csv", predicted)["num_videos"] == 1


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
