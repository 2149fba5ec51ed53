"""The option --reader of the three commands that decode finished videos."""

import json
from typing import get_args

import pandas as pd
import pytest
from made_models import write_other_container, write_video

from pipeline.captioning import describe
from pipeline.cli.console import READERS
from pipeline.cli.main import main
from pipeline.video.types import Backend


def test_the_command_line_offers_every_reader():
    assert get_args(Backend) == READERS


@pytest.mark.parametrize("command", ["label", "review"])
def test_a_video_that_the_reader_refuses_is_named_with_the_remedy(command, video_model, tmp_path, capsys):
    tape, clip = (
        write_other_container(tmp_path / "tape.ts", "libx264"),
        write_video(tmp_path / "clip.mp4", num_frames=9),
    )
    call = [command, str(tape), str(clip), "--model", str(video_model), "--out", str(tmp_path / "out")]
    assert main([*call, "--reader", "decord"]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("framescribe: ")]
    assert line.startswith(f"framescribe: {tape}: decord loses frames")
    assert "use --reader auto or pyav" in line
    assert main(call) == 0


def test_the_files_of_framescribe_label_name_the_reader(video_model, tmp_path):
    clip, out = write_video(tmp_path / "clip.mp4", num_frames=9), tmp_path / "out"
    call = ["label", str(clip), "--model", str(video_model), "--out", str(out)]
    for reader, taken in (("opencv", "opencv"), ("auto", "pyav")):
        assert main([*call, "--reader", reader]) == 0
        assert json.loads((out / "clip.report.json").read_text())["decoding"]["reader"] == taken
        assert list(pd.read_csv(out / "decode_report.csv")["reader"]) == [taken]


def test_labelling_in_part_needs_pyav(video_model, tmp_path, capsys):
    clip = write_video(tmp_path / "clip.mp4", num_frames=3)
    call = ["label", str(clip), "--model", str(video_model), "--out", str(tmp_path / "out"), "--on-error", "partial"]
    assert main([*call, "--reader", "opencv"]) == 2
    assert "--on-error partial: got --reader opencv" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*call, "--reader", "pyav"]) == 0


@pytest.mark.parametrize("reader", [name for name in READERS if name != "nvdec"])  # which needs a GPU
def test_captions_describe_frames_that_the_chosen_reader_decodes(reader, caption_model, tmp_path, monkeypatch):
    seen = []
    open_indexed = describe.open_indexed

    def note(index, *, backend):
        seen.append(backend)
        return open_indexed(index, backend=backend)

    monkeypatch.setattr(describe, "open_indexed", note)
    clip, out = write_video(tmp_path / "clip.mp4", num_frames=9), tmp_path / "captions.csv"
    call = ["caption", str(clip), "--model", str(caption_model), "--out", str(out), "--device", "cpu"]
    assert main([*call, "--reader", reader]) == 0
    assert seen == [reader]
    assert len(pd.read_csv(out)) == 1


def test_nvdec_without_a_gpu_is_refused_before_anything_is_written(video_model, tmp_path, capsys):
    clip, out = write_video(tmp_path / "clip.mp4", num_frames=3), tmp_path / "out"
    for command in ("label", "review"):
        call = [command, str(clip), "--model", str(video_model), "--out", str(out), "--device", "cpu"]
        assert main([*call, "--reader", "nvdec"]) == 2
        assert "reader nvdec decodes on the GPU of the labeller" in capsys.readouterr().err
        assert not out.exists()
