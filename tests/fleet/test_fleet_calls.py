"""A call deals videos and ranges to workers: here in one process, in any order, and with features that are lost."""

import random
from collections.abc import Container, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from made_kept import KeptHere
from made_models import damage, files_of, write_video

from pipeline.errors import InputError
from pipeline.fleet import label
from pipeline.fleet.cluster import Job, Lost
from pipeline.fleet.label import label_on_cluster
from pipeline.fleet.worker import ModelSource
from pipeline.labelling.folder import LabellingOutcome, Progress, label_videos
from pipeline.labelling.model import load_model
from pipeline.labelling.outputs import OutputOptions

LENGTHS = {"a": 20, "b": 150, "c": 30, "d": 130}  # frames; ranges have 40


class PoolHere:
    """In place of `Pool`: one worker in this process, which does the jobs in a random order."""

    seed = 0
    lost_share = 0.0  # of the ranges
    set_aside: Container[str] = ()  # the stems of videos whose jobs lose all workers
    num_losses = 1

    def __init__(self, worker: type, order: Any, share: Any, *, on_note: Any) -> None:
        self._worker, self._draw, self._waiting = worker(), random.Random(self.seed), list[Job]()
        self._worker.prepare(order)

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[Job, Any]]:
        self._waiting.extend(jobs)
        while self._waiting:
            job = self._waiting.pop(self._draw.randrange(len(self._waiting)))
            yield job, self._do(job)

    def _do(self, job: Job) -> Any:
        if job.arguments[0].stem in self.set_aside:
            return Lost("killed")
        result = getattr(self._worker, job.method_with_room or job.method)(*job.arguments)
        if not job.keeps:
            return result
        reports, features = result
        return reports, KeptHere(features, is_lost=self._draw.random() < self.lost_share)

    def add(self, jobs: Sequence[Job]) -> None:
        self._waiting.extend(jobs)

    def drop(self, keys: Container[Any]) -> None:
        self._waiting = [job for job in self._waiting if job.key not in keys]

    def put(self, value: Any) -> Any:
        return value

    def close(self) -> None:
        with self._worker._processes:
            pass


@contextmanager
def connected(address: str) -> Iterator[list[dict[str, float]]]:
    yield [{"CPU": 2.0}]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("videos")
    return [write_video(folder / f"{stem}.mp4", num_frames=length) for stem, length in LENGTHS.items()]


@pytest.fixture(scope="module")
def expected(videos: list[Path], spread_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("one")
    label_videos(videos, load_model(str(spread_model), device="cpu"), out, on_failure=pytest.fail)
    return files_of(out)


@pytest.fixture
def call(spread_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Label videos into tmp_path / "out"; returns the outcome, failures, notes and progress."""
    monkeypatch.setattr(label, "connected", connected)
    monkeypatch.setattr(label, "Pool", PoolHere)
    monkeypatch.setattr(label, "RANGE_FRAMES", 40)
    (tmp_path / "out").mkdir()
    source = ModelSource((str(spread_model),), "auto", "full", None, "auto", None)

    def run(videos: list[Path], **options: Any) -> tuple[LabellingOutcome, list[str], list[str], list[Progress]]:
        failures: list[str] = []
        notes: list[str] = []
        progress: list[Progress] = []
        outcome = label_on_cluster(
            videos,
            source.load(),
            source,
            tmp_path / "out",
            address="here",
            outputs=OutputOptions(**options),
            on_failure=failures.append,
            on_progress=progress.append,
            on_note=notes.append,
        )
        return outcome, failures, notes, progress

    return run


@pytest.mark.parametrize("seed", range(3))
def test_in_any_order_and_with_losses_the_files_are_those_of_one_machine(
    call: Any,
    videos: list[Path],
    expected: dict[str, bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    seed: int,
) -> None:
    monkeypatch.setattr(PoolHere, "seed", seed)
    monkeypatch.setattr(PoolHere, "lost_share", 0.3 * seed)
    outcome, failures, notes, progress = call(videos)
    assert (outcome, failures) == (LabellingOutcome(4, 0, 0, 0), [])
    assert notes == ["1 worker of the cluster ended early; others did again what they had not finished"]
    assert files_of(tmp_path / "out") == expected
    assert progress[-1] == Progress(330, 330, 4, 4)
    assert call(videos)[0] == LabellingOutcome(0, 0, 4, 0), "nothing is done again"


def test_a_video_whose_jobs_lose_all_workers_is_set_aside(
    call: Any, videos: list[Path], expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PoolHere, "set_aside", ("b",))
    outcome, (failure,), _, _ = call(videos)
    assert outcome == LabellingOutcome(3, 0, 0, 1)
    assert "is set aside: 5 workers ended while they labelled it" in failure
    found = files_of(tmp_path / "out")
    assert {name for name in expected if not name.startswith("b.")} == found.keys()
    assert b"b,failed" in found["decode_report.csv"]


def test_a_long_video_that_is_damaged_is_labelled_as_a_whole(call: Any, videos: list[Path], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(videos[1].read_bytes())
    damage(damaged)
    outcome, failures, _, _ = call([damaged], on_error="partial")
    assert outcome == LabellingOutcome(1, 1, 0, 0)
    assert "labelled in part" in failures[0]


def test_the_first_failure_may_end_the_call(call: Any, videos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PoolHere, "set_aside", tuple(LENGTHS))
    outcome, _, _, _ = call(videos, on_error="stop")
    assert outcome == LabellingOutcome(0, 0, 0, 1)


def test_a_gpu_that_the_cluster_lacks_is_refused(
    call: Any, videos: list[Path], spread_model: Path, tmp_path: Path
) -> None:
    source = ModelSource((str(spread_model),), "cuda", "full", None, "auto", None)
    model = load_model(str(spread_model), device="cpu")
    with pytest.raises(InputError, match="the cluster has no GPU"):
        label_on_cluster(
            videos, model, source, tmp_path / "out", address="here", outputs=OutputOptions(), on_failure=pytest.fail
        )


@pytest.mark.parametrize(
    ("machines", "num_parallel"),
    [
        ([{"CPU": 64.0}, {"CPU": 4.0, "GPU": 1.0}], 4),  # the cores of another machine do not decode for a GPU
        ([{"CPU": 64.0, "GPU": 1.0}, {"CPU": 6.0, "GPU": 2.0}], 3),
        ([{"CPU": 1.0, "GPU": 4.0}], 1),
    ],
)
def test_a_share_of_a_gpu_fits_into_a_machine(machines: list[dict[str, float]], num_parallel: int) -> None:
    share = label._share(machines, "auto")
    assert (share.cpus, share.gpus, share.num_parallel) == (num_parallel, 1, num_parallel)
    assert label._share(machines, "cpu").gpus == 0
