"""A worker labels what `label_videos` labels, without a cluster here; a video that ends its decoder costs no other."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from made_kept import KeptHere
from made_models import write_video

from pipeline.fleet.worker import FleetWorker, KeptRange, LostRanges, ModelSource, Order, code_fingerprint
from pipeline.labelling.folder import label_videos
from pipeline.labelling.model import load_model
from pipeline.labelling.one_video import Outcome
from pipeline.labelling.outputs import LocalFolder, OutputOptions
from pipeline.labelling.ranges import Division


@pytest.fixture
def out(tmp_path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


@pytest.fixture
def worker(spread_model, out) -> Iterator[FleetWorker]:
    source = ModelSource((str(spread_model),), "cpu", "full", None, "auto", None)
    fingerprint = source.load().fingerprint
    worker = FleetWorker()
    worker.prepare(Order(source, fingerprint, code_fingerprint(), out, OutputOptions(), Path.cwd(), 1, 40))
    with worker._processes:
        yield worker


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "decode_report.csv"}


def test_a_video_that_ends_its_decoder_twice_is_set_aside_and_the_next_one_is_labelled(
    worker, out, tmp_path, monkeypatch
):
    bad, good = (write_video(tmp_path / f"{stem}.mp4") for stem in ("bad", "good"))
    opened = []
    open_scaled = worker._processes.open_scaled

    def crashing(path, *arguments, **options):
        opened.append(path)
        reader = open_scaled(path, *arguments, **options)
        if path == bad:
            os.kill(reader._process._popen.pid, signal.SIGSEGV)
        return reader

    monkeypatch.setattr(worker._processes, "open_scaled", crashing)
    failed, labelled = (worker.label(path, LocalFolder(out)) for path in (bad, good))
    assert opened == [bad, bad, good]
    assert not failed.is_labelled
    assert "the process that decodes it was ended by SIGSEGV" in failed.complaints[0]
    assert labelled.is_labelled
    assert not labelled.complaints


def test_ranges_are_joined_and_those_that_were_lost_are_named(worker, out, spread_model, tmp_path):
    video, folder = write_video(tmp_path / "clip.mp4", num_frames=150), LocalFolder(out)
    division = worker.divide_or_label(video, folder)
    assert isinstance(division, Division)

    def ranges(lost: set[int]) -> list[KeptRange]:
        encoded = [worker.encode(video, division, number) for number in range(len(division.starts))]
        return [
            KeptRange(reports, KeptHere(features, is_lost=number in lost))
            for number, (reports, features) in enumerate(encoded)
        ]

    assert worker.join(video, folder, division, ranges({1, 3})) == LostRanges((1, 3))
    flaky = ranges(set())
    flaky[2] = flaky[2]._replace(features=KeptHere(flaky[2].features.get(), is_lost=True, returns=True))
    assert worker.join(video, folder, division, flaky) == LostRanges((2,)), "it is there again, but was missed"
    assert not list(out.glob("clip*"))
    outcome = worker.join(video, folder, division, ranges(set()))
    assert isinstance(outcome, Outcome)
    assert outcome.is_labelled
    one = tmp_path / "one"
    one.mkdir()
    label_videos([video], load_model(str(spread_model), device="cpu"), one, on_failure=pytest.fail)
    assert files_of(out) == files_of(one)


def test_a_short_video_is_labelled_where_a_long_one_is_divided(worker, out, tmp_path):
    outcome = worker.divide_or_label(write_video(tmp_path / "clip.mp4", num_frames=30), LocalFolder(out))
    assert isinstance(outcome, Outcome)
    assert outcome.is_labelled


def test_output_that_is_there_byte_for_byte_is_left_alone(worker, out, tmp_path):
    """A worker of a call that was killed may end its video after the next call has finished it."""
    video, folder = write_video(tmp_path / "clip.mp4"), LocalFolder(out)
    worker.label(video, folder)
    before = {path: path.stat().st_mtime_ns for path in out.iterdir()}
    assert worker.label(video, folder).is_labelled
    assert {path: path.stat().st_mtime_ns for path in out.iterdir()} == before
    (out / "clip.frames.csv").write_text("something else")
    assert worker.label(video, folder).is_labelled
    assert (out / "clip.frames.csv").read_text() != "something else"
