"""The reader of a video is in its report, decides whether a video is finished, and never reads in part."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_models import write_other_container, write_video

from pipeline.errors import InputError
from pipeline.labelling.folder import LabellingOutcome, label_videos
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.outputs import OutputOptions
from pipeline.labelling.report import LabelReport
from pipeline.video.types import Backend

READERS: tuple[Backend, ...] = ("pyav", "decord", "opencv")


@pytest.fixture(scope="module")
def models(video_model) -> dict[str, Model]:
    return {reader: load_model(str(video_model), device="cpu", reader=reader) for reader in ("auto", *READERS)}


@pytest.fixture
def video(tmp_path) -> Path:
    return write_video(tmp_path / "clip.mp4", num_frames=12)


def label(paths: list[Path], model: Model, out: Path, **options) -> tuple[LabellingOutcome, list[str]]:
    out.mkdir(exist_ok=True)
    printed: list[str] = []
    return label_videos(paths, model, out, on_failure=printed.append, **options), printed


@pytest.mark.parametrize("decoder_processes", [False, True])
@pytest.mark.parametrize("reader", READERS)
def test_both_reports_name_the_reader_that_was_used(reader, decoder_processes, models, video, tmp_path):
    out = tmp_path / "out"
    outcome, printed = label([video], models[reader], out, decoder_processes=decoder_processes)
    assert (outcome, printed) == (LabellingOutcome(1, 0, 0, 0), [])
    assert json.loads((out / "clip.report.json").read_text())["decoding"]["reader"] == reader
    assert list(pd.read_csv(out / "decode_report.csv")["reader"]) == [reader]
    label([video], models["pyav"], tmp_path / "pyav")
    table, by_pyav = (pd.read_csv(folder / "clip.frames.csv") for folder in (out, tmp_path / "pyav"))
    pd.testing.assert_frame_equal(table[["frame", "time_seconds"]], by_pyav[["frame", "time_seconds"]])
    np.testing.assert_allclose(table["probability"], by_pyav["probability"], atol=0.1)


def test_a_video_labelled_by_auto_or_pyav_is_finished_only_for_these_two_readers(models, video, tmp_path):
    out = tmp_path / "out"
    label([video], models["auto"], out)
    assert label([video], models["pyav"], out)[0] == LabellingOutcome(0, 0, 1, 0)
    for reader in ("decord", "opencv", "auto"):
        assert label([video], models[reader], out)[0] == LabellingOutcome(1, 0, 0, 0), reader
        assert label([video], models[reader], out)[0] == LabellingOutcome(0, 0, 1, 0), reader


def test_the_fingerprint_of_the_default_reader_stays_the_same(models):
    model = models["auto"]
    digest = hashlib.sha256(f"{model.spec.model_dump_json()} full None".encode())
    digest.update(model.checkpoint.frame_encoder.fingerprint().encode())
    for name, tensor in model.checkpoint.labeller.state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    assert model.fingerprint == models["pyav"].fingerprint == digest.hexdigest()[:16]
    assert len({models[reader].fingerprint for reader in READERS}) == 3


def test_reports_without_a_reader_count_as_pyav(models, video, tmp_path):
    out = tmp_path / "out"
    other = write_video(tmp_path / "other.mp4", num_frames=5)
    label([video, other], models["auto"], out)
    path, table = out / "clip.report.json", out / "decode_report.csv"
    values = json.loads(path.read_text())
    del values["decoding"]["reader"]
    path.write_text(json.dumps(values))
    pd.read_csv(table).drop(columns="reader").to_csv(table, index=False)

    report = LabelReport.read(path)
    assert report is not None
    assert report.decoding is not None
    assert report.decoding.reader == "pyav"
    assert label([video], models["auto"], out)[0] == LabellingOutcome(0, 0, 1, 0)
    rows = pd.read_csv(table).set_index("stem")
    assert dict(rows["reader"]) == {"clip": "pyav", "other": "pyav"}
    assert rows.loc["other", "decoded_frames"] == 5


@pytest.mark.parametrize("reader", ["decord", "opencv"])
def test_decord_and_opencv_refuse_a_damaged_video_and_never_label_it_in_part(reader, models, tmp_path):
    path = write_video(tmp_path / "clip.mp4", num_frames=60)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 8] = bytes(len(content) // 8)
    path.write_bytes(content)
    outcome, (sentence,) = label([path], models[reader], tmp_path / "out")
    assert outcome == LabellingOutcome(0, 0, 0, 1)
    assert sentence.startswith(f"{path}: ")
    assert "damaged" in sentence
    assert not list((tmp_path / "out").glob("clip.*"))
    (row,) = pd.read_csv(tmp_path / "out" / "decode_report.csv").to_dict("records")
    assert (row["outcome"], row["reader"], row["problems"]) == ("failed", reader, sentence.removeprefix(f"{path}: "))
    with pytest.raises(InputError, match=f"--on-error partial: got --reader {reader}"):
        label([path], models[reader], tmp_path / "out", outputs=OutputOptions(on_error="partial"))


def test_a_video_that_a_reader_refuses_is_named_and_the_others_are_labelled(models, video, tmp_path):
    refused = write_other_container(tmp_path / "tape.ts", "libx264")
    outcome, (sentence,) = label([refused, video], models["decord"], tmp_path / "out")
    assert outcome == LabellingOutcome(1, 0, 0, 1)
    assert sentence.startswith(
        f"{refused}: decord loses frames or their times in files of the format mpegts; use --reader"
    )
    rows = pd.read_csv(tmp_path / "out" / "decode_report.csv").set_index("stem")
    assert dict(rows["outcome"]) == {"clip": "labelled", "tape": "failed"}


def test_opencv_labels_a_whole_video_whose_packets_have_no_times(models, tmp_path):
    path = write_other_container(tmp_path / "bare.h264", "libx264", num_frames=20)
    assert label([path], models["opencv"], tmp_path / "out") == (LabellingOutcome(1, 0, 0, 0), [])
    times = pd.read_csv(tmp_path / "out" / "bare.frames.csv")["time_seconds"]
    np.testing.assert_allclose(times, np.arange(20) / 25)


def test_no_reader_decodes_ready_features(feature_model):
    for reader in ("auto", "pyav"):
        load_model(str(feature_model), device="cpu", reader=reader)
    with pytest.raises(InputError, match="ready features, which no reader decodes"):
        load_model(str(feature_model), device="cpu", reader="decord")
