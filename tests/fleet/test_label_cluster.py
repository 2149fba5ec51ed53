"""Labels of a cluster are those of one machine, byte for byte, though its workers and nodes are killed meanwhile."""

import random
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

import pytest
from made_clusters import kill_node, kill_worker, serving_cluster
from made_models import files_of, write_video
from made_stores import Answer, Store, address, contents, serving_store

from pipeline.annotations.layouts import DECODE_REPORT
from pipeline.cli.main import main
from pipeline.errors import InputError
from pipeline.fleet import label
from pipeline.fleet.cluster import Job, Pool
from pipeline.fleet.label import label_on_cluster
from pipeline.fleet.worker import FleetWorker, ModelSource, Order, code_fingerprint
from pipeline.labelling.folder import LabellingOutcome, label_videos
from pipeline.labelling.inputs import find_everywhere
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.outputs import OutputOptions

pytestmark = pytest.mark.slow  # a cluster takes long to start, and each worker imports torch
NUM_VIDEOS = 6


@pytest.fixture(scope="module")
def store():
    with serving_store() as store:
        yield store


@pytest.fixture(scope="module")
def cluster(store):
    with serving_cluster(num_nodes=3, cores=1) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def model(spread_model) -> Model:
    return load_model(str(spread_model), device="cpu")


@pytest.fixture(scope="module")
def source(spread_model) -> ModelSource:
    return ModelSource((str(spread_model),), "auto", "full", None, "auto", None)


@pytest.fixture(scope="module")
def videos(tmp_path_factory, store: Store) -> Path:
    """Write videos, of which the last one is damaged, into a folder and into the store."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(NUM_VIDEOS):
        write_video(folder / f"clip{number}.mp4", num_frames=6 + 5 * number)
    damaged = folder / f"clip{NUM_VIDEOS}.mp4"
    damaged.write_bytes((folder / "clip0.mp4").read_bytes()[:3000])
    for path in folder.iterdir():
        store.put(f"fleet/{path.name}", path)
    return folder


@pytest.fixture(scope="module")
def expected(videos, spread_model, tmp_path_factory) -> dict[str, bytes]:
    """Return what one machine writes."""
    out = tmp_path_factory.mktemp("expected")
    assert main(["label", str(videos), "--model", str(spread_model), "--out", str(out)]) == 1
    return compared({path.name: path.read_bytes() for path in out.iterdir()})


def compared(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name.endswith((".csv", ".report.json"))}


def test_the_command_writes_on_a_cluster_what_it_writes_on_one_machine(
    cluster, videos, spread_model, expected, tmp_path, capsys
):
    out = tmp_path / "labels"
    command = ["label", str(videos), "--model", str(spread_model), "--out", str(out), "--cluster"]
    assert main([*command, cluster.address]) == 1  # one is damaged
    assert f"labelled {NUM_VIDEOS} of {NUM_VIDEOS + 1} into {out}" in capsys.readouterr().out
    assert compared(files_of(out)) == expected
    assert len(expected) == 3 * NUM_VIDEOS + 1
    (videos / f"clip{NUM_VIDEOS}.mp4").rename(tmp_path / "damaged.mp4")
    assert main([*command, "127.0.0.1:1"]) == 0  # nothing is left to do, so that no cluster is needed
    (tmp_path / "damaged.mp4").rename(videos / f"clip{NUM_VIDEOS}.mp4")
    assert f"{NUM_VIDEOS} were finished before" in capsys.readouterr().out


def test_a_cluster_that_loses_workers_and_nodes_writes_the_same_into_a_store(
    cluster, store, videos, model, source, expected
):
    out, failures, draw = address("cluster"), [], random.Random(0)
    with ThreadPoolExecutor(1) as thread:  # Ray starts nodes in the main thread only
        labelling = thread.submit(
            label_on_cluster,
            find_everywhere([address("fleet/")], model),
            model,
            source,
            out,
            address=cluster.address,
            outputs=OutputOptions(),
            on_failure=failures.append,
            on_note=lambda note: None,
        )
        for turn in range(4):
            wait([labelling], timeout=draw.uniform(2, 10))
            if labelling.done():
                break
            if turn % 2:
                kill_node(cluster, draw)
            else:
                kill_worker(draw)
        outcome = labelling.result()
    assert outcome == LabellingOutcome(NUM_VIDEOS, 0, 0, 1)
    assert len(failures) == 1
    found = compared(contents(out))
    assert found.keys() == expected.keys()
    without_reports = {name for name in expected if not name.endswith(".json")}  # which have the time of the object
    assert {name: found[name] for name in without_reports} == {name: expected[name] for name in without_reports}
    assert DECODE_REPORT in without_reports


def test_a_store_that_refuses_a_part_of_all_requests_costs_nothing_but_time(
    cluster, store, videos, model, source, expected, monkeypatch
):
    draw, failures = random.Random(0), []
    busy = Answer("503 Service Unavailable", "SlowDown")
    monkeypatch.setattr(store, "refuse", lambda request: busy if draw.random() < 0.05 else None)
    out = address("refusing")
    paths = find_everywhere([address("fleet/")], model)
    options = {"address": cluster.address, "outputs": OutputOptions(), "on_failure": failures.append}
    outcome = label_on_cluster(paths, model, source, out, **options)
    monkeypatch.setattr(store, "refuse", lambda request: None)
    assert outcome == LabellingOutcome(NUM_VIDEOS, 0, 0, 1)
    assert len(failures) == 1  # the damaged one
    found = compared(contents(out))
    assert {name: content for name, content in found.items() if not name.endswith(".json")} == {
        name: content for name, content in expected.items() if not name.endswith(".json")
    }


def label_one(video: Path, out: Path, model: Model, source: ModelSource, address: str, **options) -> LabellingOutcome:
    out.mkdir()
    outputs = OutputOptions(**options)
    return label_on_cluster([video], model, source, out, address=address, outputs=outputs, on_failure=pytest.fail)


@pytest.fixture
def ranges(monkeypatch) -> list[Job]:
    """Divide videos into ranges of 40 frames, and return the jobs of ranges."""
    jobs: list[Job] = []
    add = Pool.add

    def noting(pool: Pool, added: list[Job]) -> None:
        jobs.extend(job for job in added if job.method == "encode")
        add(pool, added)

    monkeypatch.setattr(label, "RANGE_FRAMES", 40)
    monkeypatch.setattr(Pool, "add", noting)
    return jobs


@pytest.mark.parametrize("killed", ["none", "workers", "nodes"])
def test_a_long_video_is_encoded_by_several_workers_and_gets_the_labels_of_one(
    cluster, model, source, tmp_path, ranges, killed
):
    video = write_video(tmp_path / "long.mp4", num_frames=1000)
    label_videos([video], model, make_folder(tmp_path / "one"), on_failure=pytest.fail)
    draw = random.Random(1)
    with ThreadPoolExecutor(1) as thread:
        labelling = thread.submit(label_one, video, tmp_path / "many", model, source, cluster.address)
        num_left = 0 if killed == "none" else 3
        while num_left and not labelling.done():
            wait([labelling], timeout=draw.uniform(3, 6))
            if ranges and killed == "nodes":
                kill_node(cluster, draw)
            if ranges and (killed == "nodes" or kill_worker(draw)):
                num_left -= 1
        assert labelling.result() == LabellingOutcome(1, 0, 0, 0)
    assert files_of(tmp_path / "many") == files_of(tmp_path / "one")
    assert len({job.key.number for job in ranges}) == 25


def make_folder(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_long_video_with_a_damaged_range_is_labelled_as_one_machine_labels_it(
    cluster, model, source, tmp_path, ranges
):
    video = write_video(tmp_path / "long.mp4", num_frames=200)
    content = bytearray(video.read_bytes())
    place = len(content) * 3 // 4
    content[place : place + 2000] = bytes(2000)
    video.write_bytes(content)
    outputs = OutputOptions(on_error="partial")
    failures: list[str] = []
    label_videos([video], model, make_folder(tmp_path / "one"), outputs=outputs, on_failure=failures.append)
    out = make_folder(tmp_path / "many")
    outcome = label_on_cluster(
        [video], model, source, out, address=cluster.address, outputs=outputs, on_failure=failures.append
    )
    assert outcome == LabellingOutcome(1, 1, 0, 0)
    assert files_of(out) == files_of(tmp_path / "one")
    assert len(ranges) == 5
    assert failures[0] == failures[1]


def test_a_worker_with_another_version_model_or_folder_is_refused(spread_model, model, source, tmp_path):
    order = Order(source, model.fingerprint, code_fingerprint(), tmp_path, OutputOptions(), Path.cwd(), 1, 40)
    FleetWorker().prepare(order)
    for changes, sentence in (
        ({"code": "other"}, "runs another version of Framescribe"),
        ({"fingerprint": "other"}, "has another model at"),
        ({"out": tmp_path / "missing"}, "expected folders that all machines share"),
        ({"folder": tmp_path / "missing"}, "expected folders that all machines share"),
    ):
        with pytest.raises(InputError, match=sentence):
            FleetWorker().prepare(Order(**vars(order) | changes))
