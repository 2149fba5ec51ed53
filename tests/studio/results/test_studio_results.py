"""Scores and time budgets of the studio are those of `framescribe evaluate` and `framescribe summarize`."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from made_labelling import write_video
from made_results import EXCLUSIVE, KEY, NUM_FRAMES, OVERLAPPING, write_results
from made_studio import Studio, serving

from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.read import read_annotation
from pipeline.datasets.manifest import Manifest, Source, write_manifest
from pipeline.metrics.budget_tables import budget_rows
from pipeline.metrics.budgets import summarize_folder
from pipeline.metrics.folders import evaluate_folders
from pipeline.studio.places import Places
from pipeline.studio.results.training_splits import find_splits


class Made(NamedTuple):
    studio: Studio
    place: Path
    predicted: Path
    space: LabelSpace
    labels: dict[str, np.ndarray]

    def truth(self, stem: str) -> np.ndarray:
        return read_annotation(self.place / "labels" / f"{stem}.csv", self.space, num_frames=NUM_FRAMES[stem])


@pytest.fixture(scope="module", params=[EXCLUSIVE, OVERLAPPING], ids=["exclusive", "overlapping"])
def made(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("results")
    place, predicted = folder / "dataset", folder / "predicted"
    labels = write_results(place, predicted, space=request.param, lost=4 if request.param.is_exclusive else 0)
    with serving(place) as studio:
        yield Made(studio, place, predicted, request.param, labels)


def reference(made: Made) -> dict[str, Any]:
    (made.predicted / "decode_report.csv").write_text("stem,outcome\none,partly\n")
    return evaluate_folders(made.place / "labels", made.predicted)


def test_scores_are_those_of_the_command(made: Made) -> None:
    answer = made.studio.get("/api/results").json
    (group,) = answer["groups"]
    report = reference(made)
    assert (group["num_videos"], group["num_frames"]) == (report["num_videos"], report["num_frames"])
    for name in ("accuracy", "macro_f1"):
        assert group["scores"]["frames"][name] == report["frames"][name]
    assert group["scores"]["segments"] == report["segments"]
    ranked = ("average_precision", "calibration_error")
    for of_class in group["classes"]:
        expected = report["classes"][of_class["name"]]
        assert {k: v for k, v in of_class.items() if k not in ("name", *ranked)} == {
            k: v for k, v in expected.items() if k not in ranked
        }
    assert group["confusion"] == report.get("confusion")
    for video in group["videos"]:
        assert video["accuracy"] == report["videos"][video["stem"]]["frames"]["accuracy"]
    assert group["num_left_out"] == sum(report["frames_without_prediction"].values())


def test_stretches_are_the_frames_of_their_cell(made: Made) -> None:
    space, exclusive = made.space, made.space.is_exclusive
    cells = [(true, each) for true in range(3) for each in (range(3) if exclusive else ("missed", "false_alarm"))]
    num_found = 0
    for true, other in cells:
        query = f"source={KEY}&true={true}&{'predicted' if exclusive else 'kind'}={other}"
        answer = made.studio.get(f"/api/results/frames?{query}").json
        found = {stem: np.zeros(NUM_FRAMES[stem], bool) for stem in ("one", "two")}
        for each in answer["stretches"]:
            found[each["stem"]][each["start"] : each["stop"]] = True
            assert each["start_seconds"] == pytest.approx(each["start"] / 25)
            assert each["stop_seconds"] == pytest.approx(each["stop"] / 25)
        lengths = [each["stop"] - each["start"] for each in answer["stretches"]]
        assert lengths == sorted(lengths, reverse=True)
        assert sum(lengths) == answer["num_frames"]
        for stem, mask in found.items():
            given, model = made.truth(stem), made.labels[stem]
            if exclusive:
                expected = (given == true) & (model == other)
            else:
                one, two = (1, 0) if other == "missed" else (0, 1)
                expected = (given[:, true] == one) & (model[:, true] == two)
            np.testing.assert_array_equal(mask, expected)
            num_found += int(mask.sum())
    assert num_found > 0
    assert space.num_classes == 3


def test_a_cell_that_is_not_there_is_refused(made: Made) -> None:
    for query in ("true=3&predicted=0", "true=-1&kind=missed", "true=0&predicted=x", "true=0&kind=other"):
        assert made.studio.get(f"/api/results/frames?source={KEY}&{query}").status in (400, 404)
    assert made.studio.get("/api/results?source=nothing").status == 404
    assert made.studio.get("/api/results/frames?true=0&predicted=0").status == 400


def test_time_budgets_are_those_of_the_command(made: Made) -> None:
    def edges(stem: str) -> np.ndarray:
        return np.arange(NUM_FRAMES[stem] + 1) / 25

    sides = {"given": made.place / "labels", KEY: made.predicted}
    for source, folder in sides.items():
        answer = made.studio.get(f"/api/budget?source={source}").json
        summaries = summarize_folder(folder, edges=edges)
        rows = {(stem, name): cells for _, stem, name, *cells in budget_rows(summaries)}
        shown = {("", each["name"]): each for each in answer["classes"]}
        shown |= {(video["stem"], each["name"]): each for video in answer["videos"] for each in video["classes"]}
        assert {(stem, name.removeprefix("'")) for stem, name in rows} == set(shown)
        keys = ("videos", "share", "bouts", "per_minute", "labelled_seconds", "seconds", "mean_seconds")
        for (stem, name), cells in rows.items():
            found = shown[stem, name.removeprefix("'")]
            wanted = [cells[1], cells[2], cells[3], cells[4], cells[5], cells[6], cells[7]]
            wanted += [cells[8], cells[9]]
            values = [found[key] for key in (*keys, "median_seconds", "latency_seconds")]
            for value, cell in zip(values, wanted, strict=True):
                assert (value is None) == (cell == "")
                assert value is None or value == pytest.approx(float(cell), abs=1e-6)


def test_what_is_edited_here_or_elsewhere_counts_at_once(tmp_path: Path) -> None:
    place = tmp_path / "dataset"
    labels = write_results(place, tmp_path / "predicted", space=EXCLUSIVE)
    with serving(place) as studio:
        before = studio.get("/api/results").json["groups"][0]
        video = studio.ids()["two"]
        tracks = studio.get(f"/api/videos/{video}/labels").json
        runs = [(i, i + 1, int(value)) for i, value in enumerate(labels["two"])]
        paints = [[0, *run] for run in runs]
        edit = {"version": tracks["version"], "name": "relabel", "paints": paints}
        assert studio.post(f"/api/videos/{video}/edits", edit).status == 200
        after = studio.get("/api/results").json["groups"][0]
        accuracies = [{each["stem"]: each["accuracy"] for each in group["videos"]} for group in (before, after)]
        assert accuracies[0]["two"] < 100
        assert accuracies[1]["two"] == 100
        assert accuracies[0]["one"] == accuracies[1]["one"]
        (place / "labels" / "one.csv").write_text("start,stop,class\n0,10,groom\n")
        assert studio.get("/api/results").json["groups"][0]["num_frames"] == 10 + NUM_FRAMES["two"]


def test_a_video_that_changed_has_no_labels_of_the_model(tmp_path: Path) -> None:
    place = tmp_path / "dataset"
    write_results(place, tmp_path / "predicted", space=EXCLUSIVE)
    write_video(place / "videos" / "two.mp4", 44)
    (place / "labels" / "one.csv").write_text("start,stop,class\n0,1000,rest\n")
    with serving(place) as studio:
        answer = studio.get("/api/results").json
        assert answer["groups"] == []
        assert answer["num_predicted"] == 2
        assert [each["stem"] for each in answer["left_out"]] == ["one"]
        assert "60" in answer["left_out"][0]["reason"]


def test_without_a_model_there_is_no_score(dataset: Path) -> None:
    write_video(dataset / "videos" / "a.mp4")
    with serving(dataset) as studio:
        answer = studio.get("/api/results").json
        assert (answer["sources"], answer["source"], answer["groups"]) == ([], None, [])
        assert studio.get("/api/budget").json["num_videos"] == 0


def test_groups_are_those_of_the_project_whose_data_set_this_is(tmp_path: Path) -> None:
    place = tmp_path / "dataset"
    write_results(place, tmp_path / "predicted", space=EXCLUSIVE)
    stems = {"one": "train", "two": "test"}
    sources = tuple(
        Source(stem, str(place / "videos" / f"{stem}.mp4"), stem, NUM_FRAMES[stem], split=split)
        for stem, split in stems.items()
    )
    manifest = Manifest("mine", "videos", EXCLUSIVE, sources)
    prepared = tmp_path / "project" / "data" / "prepared"
    prepared.mkdir(parents=True)
    write_manifest(manifest, {stem: np.zeros(NUM_FRAMES[stem], np.int64) for stem in stems}, prepared)
    places = Places(place, place / "videos", place / "labels", place / ".studio")
    of_this = find_splits(places, {"data_fingerprint": manifest.fingerprint()}, prepared)
    assert of_this.of_stems == stems
    assert "another version" not in of_this.note
    assert "another version" in find_splits(places, {"data_fingerprint": "0" * 16}, prepared).note
    moved = tmp_path / "moved"
    shutil.copytree(place, moved)
    others = Places(moved, moved / "videos", moved / "labels", moved / ".studio")
    assert find_splits(others, {}, prepared).of_stems is None
    (prepared / "manifest.json").write_text(json.dumps({"name": 1}))
    assert "cannot be read" in find_splits(places, {}, prepared).note
    assert find_splits(places, {}, tmp_path).of_stems is None
