"""Videos and labels in a store: the same labels as from files, and finished videos are found by one listing."""

from pathlib import Path

import pytest
from made_models import files_of, write_video
from made_stores import SECRET, Answer, Store, address, contents, serving_store, trying_once

from pipeline.annotations.layouts import DECODE_REPORT
from pipeline.cli.main import main
from pipeline.errors import InputError
from pipeline.labelling.folder import LabellingOutcome, label_videos
from pipeline.labelling.inputs import find_everywhere
from pipeline.labelling.model import Model, load_model
from pipeline.labelling.one_video import OneVideo
from pipeline.labelling.outputs import OutputOptions
from pipeline.labelling.report import LabelReport
from pipeline.labelling.stored_outputs import FINISHED, PARTLY, StoredFolder
from pipeline.stores.address import Address
from pipeline.stores.objects import read_object
from pipeline.stores.writing import put, remove_object
from pipeline.video.open import open_scaled

TEXTS = (".frames.csv", ".segments.csv")


@pytest.fixture(scope="module")
def served():
    with serving_store() as store:
        yield store


@pytest.fixture(scope="module")
def model(spread_model) -> Model:
    return load_model(str(spread_model), device="cpu")


@pytest.fixture(scope="module")
def videos(served: Store, tmp_path_factory) -> Path:
    """Write three videos into a folder, and put them into the store as recordings/."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(3):
        path = write_video(folder / f"clip{number}.mp4", num_frames=6 + 2 * number)
        served.put(f"recordings/{path.name}", path)
    return folder


@pytest.fixture
def store(served: Store, videos, monkeypatch):
    monkeypatch.setattr(served, "refuse", lambda request: None)
    served.requests.clear()
    return served


def label(paths: list, model: Model, out: Path | Address, **options) -> tuple[LabellingOutcome, list[str]]:
    if isinstance(out, Path):
        out.mkdir(exist_ok=True)
    printed: list[str] = []
    outcome = label_videos(
        find_everywhere(paths, model), model, out, outputs=OutputOptions(**options), on_failure=printed.append
    )
    return outcome, printed


def texts(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name.endswith((*TEXTS, DECODE_REPORT))}


def test_labels_of_a_store_and_in_a_store_are_those_of_files(store, videos, model, tmp_path):
    assert label([videos], model, tmp_path / "files")[0] == LabellingOutcome(3, 0, 0, 0)
    expected = texts(files_of(tmp_path / "files"))
    assert len(expected) == 7
    assert label([address("recordings/")], model, tmp_path / "stored")[0] == LabellingOutcome(3, 0, 0, 0)
    assert texts(files_of(tmp_path / "stored")) == expected
    for name, inputs in {"from_files": [videos], "from_store": [address("recordings/")]}.items():
        assert label(inputs, model, address(f"labels/{name}/"))[0] == LabellingOutcome(3, 0, 0, 0)
        assert texts(contents(address(f"labels/{name}"))) == expected


def test_a_rerun_asks_for_no_video_and_no_report(store, model):
    out = address("again")
    assert label([address("recordings/")], model, out)[0].num_labelled == 3
    before = contents(out)
    store.requests.clear()
    assert label([address("recordings/")], model, out)[0] == LabellingOutcome(0, 0, 3, 0)
    assert [request for request in store.requests if "clip" in request.path] == []
    listings = [request for request in store.requests if "list-type" in request.query]
    assert len(listings) == 2  # of the videos and of the labels
    assert contents(out) == before


def test_the_row_of_an_earlier_call_does_not_stay_beside_a_finished_video(store, videos, model):
    out = address("stale")
    content = (videos / "clip0.mp4").read_bytes()
    store.put("stale_videos/clip0.mp4", content[: len(content) // 2])
    assert label([address("stale_videos/")], model, out)[0].num_failed == 1
    failed = read_object(out / DECODE_REPORT)
    store.put("stale_videos/clip0.mp4", content)
    assert label([address("stale_videos/")], model, out)[0].num_labelled == 1
    expected = read_object(out / DECODE_REPORT)
    put(out / DECODE_REPORT, failed)  # as if the call had been killed before it wrote its report
    assert label([address("stale_videos/")], model, out)[0].num_finished_before == 1
    assert read_object(out / DECODE_REPORT) == expected


def test_a_video_of_one_block_costs_few_requests(store, model):
    assert label([address("recordings/clip0.mp4")], model, address("few"))[0].num_labelled == 1
    of_video = [request.method for request in store.requests if request.path.endswith("/clip0.mp4")]
    assert (of_video.count("GET"), of_video.count("HEAD")) == (1, 5)
    assert store.count("PUT", "/few/clip0") == 4  # two files, the report and the mark


def test_what_would_change_the_labels_is_labelled_again(store, videos, model, tmp_path):
    out = address("changing")
    store.put("changed/clip.mp4", videos / "clip0.mp4")
    assert label([address("changed/")], model, out)[0].num_labelled == 1
    assert label([address("changed/")], model, out, formats=("csv", "jsonl"))[0].num_labelled == 1
    assert label([address("changed/")], model, out, overlay=True)[0].num_labelled == 1
    assert label([address("changed/")], model, out)[0].num_finished_before == 1  # the overlay is of the same labels
    assert label([address("changed/")], model.at_rate(5), out)[0].num_labelled == 1
    assert "clip.overlay.mp4" not in contents(out)
    assert label([address("changed/")], model, out)[0].num_labelled == 1
    store.put("changed/clip.mp4", videos / "clip1.mp4")
    assert label([address("changed/")], model, out)[0].num_labelled == 1
    assert label([address("changed/")], model, out, overwrite=True)[0].num_labelled == 1
    assert sum(name.endswith(FINISHED) for name in contents(out)) == 1


def test_the_marks_of_two_calls_at_the_same_time_finish_nothing(store, videos, model):
    """Each call listed the folder before the other one wrote; which of them wrote the files last is not known."""
    out, video = address("together"), [videos / "clip0.mp4"]
    listed = [StoredFolder.listed(out) for _ in range(2)]
    for folder, each in zip(listed, (model, model.at_rate(5)), strict=True):
        OneVideo(each, folder.for_one("clip0"), OutputOptions()).label(video[0], opening=open_scaled)
    assert sum(name.endswith(FINISHED) for name in contents(out)) == 2
    assert label(video, model, out)[0].num_labelled == 1
    assert sum(name.endswith(FINISHED) for name in contents(out)) == 1
    assert label(video, model, out)[0].num_finished_before == 1


def test_output_that_a_lost_worker_has_removed_is_written_again(store, videos, model):
    out, video = address("removed"), videos / "clip0.mp4"
    assert label([video], model, out)[0].num_labelled == 1
    expected = contents(out)
    folder = StoredFolder.listed(out)
    for name in expected:
        if name.endswith((FINISHED, ".report.json")):
            remove_object(out / name)
    outcome = OneVideo(model, folder.for_one("clip0"), OutputOptions(overwrite=True)).label(video, opening=open_scaled)
    assert outcome.is_labelled, outcome.complaints
    assert contents(out) == expected


def test_a_folder_with_labels_and_videos_is_listed_without_a_note(store, videos, model):
    """The marks of finished videos are no videos that are passed over; a folder may end like a video."""
    for number in range(2):
        store.put(f"both.mov/clip{number}.mp4", videos / f"clip{number}.mp4")
    assert label([address("both.mov/")], model, address("both.mov"))[0].num_labelled == 2
    notes: list[str] = []
    assert len(find_everywhere([address("both.mov/")], model, on_note=notes.append)) == 2
    assert not [note for note in notes if FINISHED in note]


def test_a_video_is_finished_by_the_last_write_only(store, videos, model, monkeypatch):
    out = address("interrupted")
    for allowed in range(7):

        def refuse(request, allowed=allowed, written=[]):  # noqa: B006  of this turn
            if request.method == "PUT" and "clip0" in request.path:
                written.append(request)
                return Answer("403 Forbidden", "AccessDenied") if len(written) > allowed else None
            return None

        monkeypatch.setattr(store, "refuse", refuse)
        with trying_once():
            outcome, printed = label([videos / "clip0.mp4"], model, out)
        if outcome.num_labelled:
            break
        assert outcome == LabellingOutcome(0, 0, 0, 1)
        assert "access is denied" in printed[0]
        assert SECRET not in printed[0]
        assert not any(name.endswith(FINISHED) for name in contents(out))
    assert allowed == 4  # two files, the report and the mark
    expected = texts(contents(out))
    assert label([videos / "clip0.mp4"], model, out)[0].num_finished_before == 1
    assert texts(contents(out)) == expected


def test_a_damaged_video_is_finished_only_for_calls_that_take_it_in_part(store, videos, model, tmp_path):
    damaged = tmp_path / "clip.mkv"
    write_video(damaged, num_frames=30)
    damaged.write_bytes(damaged.read_bytes()[: damaged.stat().st_size * 2 // 3])
    store.put("damaged/clip.mkv", damaged)
    out = address("partly")
    outcome, printed = label([address("damaged/")], model, out)
    local, local_printed = label([damaged], model, tmp_path / "out")
    assert outcome == local == LabellingOutcome(0, 0, 0, 1)
    assert printed[0].replace("s3://bucket/damaged/clip.mkv", "") == local_printed[0].replace(str(damaged), "")
    assert label([address("damaged/")], model, out, on_error="partial")[0] == LabellingOutcome(1, 1, 0, 0)
    assert any(name.endswith(PARTLY) for name in contents(out))
    assert label([address("damaged/")], model, out, on_error="partial")[0].num_finished_before == 1
    assert label([address("damaged/")], model, out)[0].num_failed == 1


def test_the_command_takes_folders_addresses_and_lists(store, videos, spread_model, tmp_path, capsys):
    (tmp_path / "local").mkdir()
    write_video(tmp_path / "local" / "here.mp4", num_frames=5)
    listing = tmp_path / "list.txt"
    text = f"s3://bucket/recordings/clip0.mp4\r\n\n{tmp_path / 'local'}\n"
    listing.write_text(text, encoding="utf-8", newline="")
    out = "s3://bucket/labels/of_command"
    command = ["label", str(listing), "s3://bucket/recordings/", "--model", str(spread_model), "--out", out]
    assert main(command) == 0
    assert f"labelled 4 of 4 into {out}" in capsys.readouterr().out
    assert main(command) == 0
    assert "4 were finished before" in capsys.readouterr().out
    report = LabelReport.parse(contents(address("labels/of_command"))["clip0.report.json"], "clip0")
    assert report is not None
    assert report.video["name"] == "clip0.mp4"
    assert not any(SECRET.encode() in content for content in contents(address("labels/of_command")).values())


def test_many_named_videos_are_described_by_one_listing(store, model, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.labelling.inputs.MIN_LISTED", 3)
    listing = tmp_path / "list.txt"
    listing.write_text("".join(f"s3://bucket/recordings/clip{number}.mp4\n" for number in range(3)))
    found = find_everywhere([listing], model)
    assert [file.stat() for file in found] == [file.listed for file in found]
    store.requests.clear()
    find_everywhere([listing], model)
    assert len(store.requests) == 1


def test_bad_addresses_are_refused_in_a_sentence(store, model, spread_model, tmp_path, capsys):
    with pytest.raises(InputError, match="holds no video"):
        find_everywhere([address("nothing/")], model)
    with pytest.raises(OSError, match="there is no such bucket"):
        find_everywhere([Address("s3", "nowhere/recordings/")], model)
    (tmp_path / "list.txt").write_text("\n")
    with pytest.raises(InputError, match="is empty, expected one path or address"):
        find_everywhere([tmp_path / "list.txt"], model)
    for line in (f"S3://name:{SECRET}@bucket/a.mp4", f"rtsp://name:{SECRET}@camera/live", f"https:/{SECRET}@host/a"):
        (tmp_path / "list.txt").write_text(line)
        with pytest.raises(InputError, match="the address of something else than a store, expected s3://") as refused:
            find_everywhere([tmp_path / "list.txt"], model)
        assert SECRET not in str(refused.value)
    outcome, printed = label([address("recordings/missing.mp4")], model, address("missing"))
    assert outcome.num_failed == 1
    assert printed == [
        "s3://bucket/recordings/missing.mp4: could not be labelled: cannot read or write"
        " s3://bucket/recordings/missing.mp4 (there is no such file or folder)"
    ]
    clip = "s3://bucket/recordings/clip0.mp4"
    assert main(["label", clip, "--model", str(spread_model), "--out", "s3://nowhere/labels"]) == 2
    assert "cannot read or write s3://nowhere/labels" in capsys.readouterr().err
    for out in (f"s3://name:{SECRET}@bucket/labels", f"S3://name:{SECRET}@bucket/labels", "s3a://bucket/labels"):
        with pytest.raises(SystemExit):
            main(["label", clip, "--model", str(spread_model), "--out", out])
        assert SECRET not in capsys.readouterr().err
    assert main(["label", clip, "--model", "s3://bucket/no_model", "--out", str(tmp_path / "out")]) == 2
    assert "s3://bucket/no_model: there is no such model (" in capsys.readouterr().err.splitlines()[-1]
