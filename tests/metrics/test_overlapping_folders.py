"""`framescribe evaluate` on label files of classes that overlap."""

import json

import numpy as np
import pytest

from pipeline.annotations.problems import AnnotationError
from pipeline.cli.main import main
from pipeline.errors import InputError
from pipeline.metrics.folders import evaluate_folders

FRAMES = """frame,time_seconds,labels,eats,rears
0,0.00,eats,0.9000,0.1000
1,0.04,eats;rears,0.8000,0.7000
2,0.08,,0.3000,0.2000
3,0.12,rears,0.2000,0.6000
"""


@pytest.fixture
def folders(tmp_path):
    """A data set of two classes that overlap, with one video of four frames, and a folder for predictions."""
    truth, predicted = tmp_path / "dataset" / "labels", tmp_path / "outputs"
    truth.mkdir(parents=True)
    predicted.mkdir()
    (truth.parent / "classes.csv").write_text("class,group\neats,a\nrears,b\n")
    (truth / "clip.csv").write_text("start,stop,class\n0,2,eats\n1,3,rears\n")
    return truth, predicted


def frames(report):
    return {name: scores["support"] for name, scores in report["classes"].items()}


def test_files_of_framescribe_label_are_scored_with_their_probabilities(folders):
    truth, predicted = folders
    (predicted / "clip.frames.csv").write_text(FRAMES)
    report = evaluate_folders(truth, predicted, background="eats")
    assert (report["num_frames"], frames(report)) == (4, {"eats": 2, "rears": 2}), "frame 3 is in no row: absent"
    assert report["classes"]["eats"]["average_precision"] == 100
    # By probability of rears, the frames are 1 (right), 3, 2 (right), 0.
    assert report["classes"]["rears"]["average_precision"] == pytest.approx(100 * (1 + 2 / 3) / 2)
    assert report["frames"]["accuracy"]["pooled"] == 50
    assert report["without_background"]["mean_average_precision"]["pooled"] == pytest.approx(100 * (1 + 2 / 3) / 2)


def test_predicted_segments_overlap_and_end_where_the_truth_ends_or_before(folders):
    truth, predicted = folders
    (predicted / "clip.segments.csv").write_text(
        "start,stop,start_seconds,stop_seconds,label,probability\n0,2,0,0.08,eats,0.9\n1,2,0.04,0.08,rears,0.9\n"
    )
    report = evaluate_folders(truth, predicted)
    assert (report["num_frames"], report["classes"]["rears"]["recall"]) == (3, 50)
    assert report["mean_average_precision"]["pooled"] is None


def test_average_precision_needs_the_probabilities_of_every_video(folders):
    truth, predicted = folders
    (predicted / "clip.frames.csv").write_text(FRAMES)
    (truth / "other.txt").write_text("eats;rears\n\n")
    (predicted / "other.txt").write_text("eats\n\n")
    report = evaluate_folders(truth, predicted)
    assert report["num_videos"] == 2
    assert report["mean_average_precision"]["pooled"] is None
    assert report["videos"]["other"]["frames"]["accuracy"] == 50


def test_without_a_class_list_a_column_for_each_class_means_that_they_overlap(folders):
    truth, predicted = folders
    (truth.parent / "classes.csv").unlink()
    (truth / "clip.csv").write_text("rears,eats\n0,1\n1,1\n1,0\n,0\n")
    (predicted / "clip.frames.csv").write_text(FRAMES)
    report = evaluate_folders(truth, predicted)
    assert frames(report) == {"eats": 2, "rears": 2}
    assert report["classes"]["rears"]["scored_frames"] == 3, "an empty cell is unknown"
    assert "co_occurrence" in report


def test_classes_of_a_list_without_groups_overlap_if_the_user_says_so(folders, capsys):
    truth, predicted = folders
    (truth.parent / "classes.csv").unlink()
    (truth.parent / "classes.txt").write_text("eats\nrears\n")
    (predicted / "clip.txt").write_text("eats\neats;rears\nrears\n")
    with pytest.raises(AnnotationError, match="overlaps"):
        evaluate_folders(truth, predicted)
    report = evaluate_folders(truth, predicted, independent=True)
    assert report["frames"]["accuracy"]["pooled"] == 100
    arguments = ["evaluate", "--truth", str(truth), "--predicted", str(predicted)]
    assert main(arguments) == 2
    assert main([*arguments, "--independent"]) == 0
    assert "mean AP" in capsys.readouterr().out
    (truth.parent / "classes.txt").unlink()
    assert evaluate_folders(truth, predicted, independent=True) == report, "the names are those in the lines"


def test_several_classes_in_a_line_are_no_class_of_their_own(folders):
    truth, predicted = folders
    (truth.parent / "classes.csv").unlink()
    (truth / "clip.csv").unlink()
    (truth / "clip.txt").write_text("eats\n\nrears\n")
    (predicted / "clip.txt").write_text("eats\neats;rears\neats; rears\n")
    with pytest.raises(AnnotationError, match=r"clip\.txt:2: got 'eats;rears' .*--independent") as caught:
        evaluate_folders(truth, predicted)
    assert len(caught.value.problems) == 1
    assert list(evaluate_folders(truth, predicted, independent=True)["classes"]) == ["eats", "rears"]
    (predicted / "other.csv").write_text("eats,rears\n1,1\n")
    assert "co_occurrence" in evaluate_folders(truth, predicted), "another file says that they overlap"
    (predicted / "other.csv").unlink()
    (predicted / "clip.txt").rename(truth.parent / "secret.txt")
    (predicted / "clip.txt").symlink_to(truth.parent / "secret.txt")
    with pytest.raises(AnnotationError, match=r"clip\.txt:2: .* what it holds is not shown"):
        evaluate_folders(truth, predicted, follow_links=True)
    (predicted / "clip.txt").unlink()
    (truth.parent / "secret.txt").rename(predicted / "clip.txt")
    (truth.parent / "classes.txt").write_text("eats\nrears\neats;rears\neats; rears\n")
    (truth / "clip.txt").write_text("eats\neats;rears\nrears\n")
    assert evaluate_folders(truth, predicted)["num_frames"] == 3, "a class list may have such a name"


def test_what_nobody_looked_at_is_not_scored(folders):
    truth, predicted = folders
    (predicted / "clip.frames.csv").write_text(FRAMES)
    scored = truth.parent / "scored.csv"
    scored.write_text("stem,start,stop,class\nclip,0,2,\nclip,3,4,rears\n")
    report = evaluate_folders(truth, predicted)
    assert report["num_frames"] == 3
    assert [scores["scored_frames"] for scores in report["classes"].values()] == [2, 3]
    scored.write_text("stem,start,stop\nclip,0,5\n")
    with pytest.raises(AnnotationError, match=r"scored\.csv:2: range \[0, 5\) goes beyond the 4 frames"):
        evaluate_folders(truth, predicted)
    scored.write_text("stem,start,stop,class\nclip,0,5,sleeps\n")
    with pytest.raises(AnnotationError, match=r"scored\.csv:2: unknown class 'sleeps'"):
        evaluate_folders(truth, predicted)


def test_a_video_that_scored_names_and_nobody_labelled_is_reported(folders, capsys):
    truth, predicted = folders
    (predicted / "clip.frames.csv").write_text(FRAMES)
    (truth.parent / "scored.csv").write_text("stem,start,stop\nclip.mp4,0,2\nclip.mp4,2,3\nother,0,9\n")
    report = evaluate_folders(truth, predicted)
    assert (report["num_videos"], report["num_frames"], report["not_scored"]) == (1, 4, [])
    assert [failure.partition("scored.csv")[2] for failure in report["failures"]] == [
        ":2: 'clip.mp4' is not the stem of a label file: did you mean 'clip'?",
        ":4: 'other' is not the stem of a label file: there are 'clip'",
    ]
    assert main(["evaluate", "--truth", str(truth), "--predicted", str(predicted)]) == 1
    assert "scored.csv:2: 'clip.mp4' is not the stem" in capsys.readouterr().err


@pytest.mark.parametrize("is_of_videos", [False, True])
def test_what_people_looked_at_says_how_long_a_video_is_at_least(folders, capsys, is_of_videos):
    truth, predicted = folders
    (predicted / "clip.segments.csv").write_text(
        "start,stop,start_seconds,stop_seconds,label,probability\n0,2,0,0.08,eats,0.9\n"
    )
    if is_of_videos:
        (truth.parent / "labels.csv").write_text("stem,class\nclip,eats\n")
        truth = truth.parent / "labels.csv"
    arguments = ["evaluate", "--truth", str(truth), "--predicted", str(predicted)]
    assert main(arguments) == 0
    message = "the length of 1 video is not known (clip): frames after its last segment do not count"
    assert message in capsys.readouterr().err
    (predicted.parent / "dataset" / "scored.csv").write_text("stem,start,stop\nclip,0,50\n")
    report = evaluate_folders(truth, predicted)
    assert (report["num_frames"], report["length_not_known"]) == (50, [])
    assert main(arguments) == 0
    assert capsys.readouterr().err == ""


def test_frames_that_could_not_be_decoded_are_left_out(folders):
    truth, predicted = folders
    (predicted / "clip.frames.csv").write_text(FRAMES.replace("1,0.04,eats;rears,0.8000,0.7000", "1,0.04,,,"))
    report = evaluate_folders(truth, predicted)
    assert (report["num_frames"], report["frames_without_prediction"]) == (3, {"clip": 1})
    assert report["classes"]["eats"]["average_precision"] == 100
    (truth / "clip.csv").write_text("start,stop,class\n0,2,eats\n1,3,rears\n5,7,eats\n")
    (predicted / "clip.frames.csv").write_text(FRAMES)
    with pytest.raises(InputError, match="got 4 predicted labels for 7 true ones"):
        evaluate_folders(truth, predicted)
    (predicted / "decode_report.csv").write_text("stem,outcome\nclip,partly\n")
    report = evaluate_folders(truth, predicted)
    assert (report["num_frames"], report["frames_without_prediction"]) == (4, {"clip": 3}), "the end was lost"
    assert report["classes"]["eats"]["average_precision"] == 100


@pytest.mark.parametrize("of_all_frames", [False, True])
def test_lost_frames_are_not_absent_where_only_segments_are_there(folders, of_all_frames):
    truth, predicted = folders
    if of_all_frames:
        truth = truth.parent / "labels.csv"
        truth.write_text("stem,class\nclip,eats\nclip,rears\n")
    path = predicted / "clip.segments.csv"
    path.write_text("start,stop,start_seconds,stop_seconds,label,probability\n0,2,0,0.08,eats,0.9\n")
    assert evaluate_folders(truth, predicted)["num_videos"] == 1
    (predicted / "decode_report.csv").write_text("stem,outcome\nclip,partly\n")
    with pytest.raises(AnnotationError, match=r"clip\.segments\.csv: does not .* clip\.frames\.csv") as caught:
        evaluate_folders(truth, predicted)
    assert len(caught.value.problems) == 1
    (predicted / "clip.frames.csv").write_text(FRAMES)
    assert evaluate_folders(truth, predicted)["num_videos"] == 1


def test_a_labelled_frame_without_a_probability_costs_its_video_alone(folders, capsys):
    truth, predicted = folders
    for stem, text in (("clip", FRAMES), ("other", FRAMES.replace("0.9000,0.1000", "0.9000,"))):
        (truth / f"{stem}.csv").write_text("start,stop,class\n0,2,eats\n1,3,rears\n")
        (predicted / f"{stem}.frames.csv").write_text(text)
    report = evaluate_folders(truth, predicted)
    assert (report["num_videos"], report["not_scored"]) == (1, ["other"])
    assert report["classes"]["eats"]["average_precision"] == 100
    assert main(["evaluate", "--truth", str(truth), "--predicted", str(predicted)]) == 1
    assert "other.frames.csv:2: got '' for 'rears', expected a probability" in capsys.readouterr().err


def test_labels_of_people_that_lack_a_class_are_no_prediction_of_it(folders):
    truth, predicted = folders
    (predicted / "clip.csv").write_text("eats,rears\n1,0\n1,\n0,1\n")
    with pytest.raises(AnnotationError, match="1 of 3 labelled frames have no prediction"):
        evaluate_folders(truth, predicted)


def test_a_video_may_have_several_classes_from_start_to_end(folders):
    truth, predicted = folders
    (predicted / "clip.frames.csv").write_text(FRAMES)
    (truth.parent / "labels.csv").write_text("stem,class\nclip,eats\nclip,rears\n")
    report = evaluate_folders(truth.parent / "labels.csv", predicted)
    assert frames(report) == {"eats": 4, "rears": 4}
    assert [scores["recall"] for scores in report["classes"].values()] == [50, 50]


def test_probabilities_that_are_none_cost_their_video_only(folders):
    truth, predicted = folders
    (predicted / "clip.frames.csv").write_text(FRAMES.replace("0.9000", "9"))
    for folder in (truth, predicted):
        (folder / "other.txt").write_text("eats\n")
    report = evaluate_folders(truth, predicted)
    assert (report["num_videos"], report["not_scored"]) == (1, ["clip"])
    assert "9" in report["failures"][0]


def test_the_report_can_be_written_and_has_the_scores_of_the_table(folders, tmp_path, capsys):
    truth, predicted = folders
    (predicted / "clip.frames.csv").write_text(FRAMES)
    path = tmp_path / "report.json"
    arguments = ["evaluate", "--truth", str(truth), "--predicted", str(predicted), "--json", str(path)]
    assert main(arguments) == 0
    report = json.loads(path.read_text())
    assert np.array(report["co_occurrence"]["truth"]).tolist() == [[2, 1], [1, 2]]
    line = next(line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("mean AP"))
    assert float(line[2]) == pytest.approx(report["mean_average_precision"]["pooled"], abs=0.05)


def test_videos_without_probabilities_are_named(folders, capsys):
    truth, predicted = folders
    (predicted / "clip.frames.csv").write_text(FRAMES)
    arguments = ["evaluate", "--truth", str(truth), "--predicted", str(predicted)]
    assert main(arguments) == 0
    assert "no average precision" not in capsys.readouterr().out
    for folder in (truth, predicted):
        (folder / "other.txt").write_text("eats\n")
    assert evaluate_folders(truth, predicted)["without_probabilities"] == ["other"]
    assert main(arguments) == 0
    said = "no average precision (AP): 1 of 2 videos has no probabilities, as the .frames.csv of `framescribe label`"
    assert said in capsys.readouterr().out


def test_a_model_of_exclusive_classes_needs_a_class_list_beside_columns_for_each_class(folders):
    truth, predicted = folders
    (truth.parent / "classes.csv").unlink()
    (truth / "clip.csv").write_text("eats,rears\n1,0\n0,1\n")
    (predicted / "clip.frames.csv").write_text(
        "frame,time_seconds,label,probability\n0,0.00,eats,0.9000\n1,0.04,rears,0.9000\n"
    )
    with pytest.raises(AnnotationError, match=r"clip\.csv: has a column for each class, .*: write classes\.txt beside"):
        evaluate_folders(truth, predicted)
    (truth.parent / "classes.txt").write_text("eats\nrears\n")
    assert evaluate_folders(truth, predicted)["frames"]["accuracy"]["pooled"] == 100


@pytest.mark.parametrize("independent", [False, True])
def test_several_classes_in_one_row_of_a_table_of_videos_are_asked_about(folders, independent):
    truth, predicted = folders
    (truth.parent / "classes.csv").unlink()
    (truth.parent / "labels.csv").write_text("stem,class\nclip,eats;rears\n")
    (predicted / "clip.txt").write_text("eats\n")
    with pytest.raises(AnnotationError, match=r"labels\.csv: got 'eats;rears', expected one class in a row: give a"):
        evaluate_folders(truth.parent / "labels.csv", predicted, independent=independent)
