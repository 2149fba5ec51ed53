"""Objects of a store are read as files are, with few requests, and what goes wrong is told in words."""

import os
import pickle
import random
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_models import write_video
from made_stores import BUCKET, SECRET, Answer, Store, address, serving_store, trying_once

from pipeline.errors import InputError, describe_os_error
from pipeline.labelling.location import find_checkpoint
from pipeline.stores import ranges
from pipeline.stores.address import Address, as_place, parse_address
from pipeline.stores.objects import PinnedFile, StoredFile, list_folder, pinned, read_object
from pipeline.stores.writing import put, remove_object, write_object
from pipeline.video.decoder_process import DecoderProcesses
from pipeline.video.open import open_scaled
from pipeline.video.region import Region
from pipeline.video.types import VideoError

REGION = Region(size=(24, 32))


@pytest.fixture(scope="module")
def served():
    with serving_store() as store:
        yield store


@pytest.fixture
def store(served: Store, monkeypatch):
    monkeypatch.setattr(served, "refuse", lambda request: None)
    served.requests.clear()
    return served


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(ranges, "BLOCK_BYTES", 1000)
    monkeypatch.setattr(ranges, "MAX_BLOCKS", 3)


def test_addresses_are_told_from_paths_and_never_hold_credentials(tmp_path):
    found = as_place("s3://bucket/recordings/a b#1.mp4")
    assert (found, str(found)) == (Address("s3", "bucket/recordings/a b#1.mp4"), "s3://bucket/recordings/a b#1.mp4")
    assert as_place("recordings/a.mp4").name == "a.mp4"
    assert str(parse_address("s3://bucket/labels/") / "a.csv") == "s3://bucket/labels/a.csv"
    with pytest.raises(InputError, match="names no bucket") as refused:
        parse_address("s3:///a.mp4")
    for credentials in (f"name:{SECRET}@", f"name:abc/{SECRET}@", f"name:a@b/{SECRET}@"):
        with pytest.raises(InputError, match=r"may not hold credentials.* set AWS_ACCESS_KEY_ID") as refused:
            parse_address(f"s3://{credentials}bucket/a.mp4")
        assert SECRET not in str(refused.value)
    with pytest.raises(InputError, match="no colon; set the address of a server as AWS_ENDPOINT_URL") as refused:
        parse_address(f"s3://name:{SECRET}/bucket/a.mp4")
    assert SECRET not in str(refused.value)
    for location in (f"http://name:{SECRET}@host:5000/a", f"HTTP://name:a/{SECRET}@host:5000/a"):
        with pytest.raises(InputError, match=r"^\w+://\.\.\.@host:5000/a: .* set MLFLOW_TRACKING_USERNAME") as refused:
            find_checkpoint(location)
        assert SECRET not in str(refused.value)
    for location in (f"mlflow-artifacts://u:{SECRET}@h/a?b={SECRET}", f"http:/u:{SECRET}@h", f"ftp://u:{SECRET}@h/a"):
        with pytest.raises(InputError, match="may not hold credentials") as refused:
            find_checkpoint(location)
        assert SECRET not in str(refused.value)
    assert find_checkpoint("models/a@b") == Path("models/a@b")
    with pytest.raises(InputError, match="is not text in UTF-8"):
        parse_address("s3://bucket/\udcff/")
    for text in ("s3://bucket//a.mp4", "s3://bucket/a//b.mp4"):
        with pytest.raises(InputError, match="two slashes with no name between them"):
            parse_address(text)
    assert parse_address("s3://bucket/labels//").folder == parse_address("s3://bucket/labels")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_part_of_an_object_is_read_as_of_a_file(store, small_blocks, tmp_path_factory, data):
    size = data.draw(st.sampled_from([1, 999, 1000, 1001, 2500, 7000]))
    content = np.random.default_rng(size).bytes(size)
    path = tmp_path_factory.mktemp("whole") / "whole.bin"
    path.write_bytes(content)
    file = StoredFile(store.put(f"whole{size}.bin", content))
    with file.open("rb") as stored, path.open("rb") as local:
        for _ in range(10):
            place, length = data.draw(st.integers(0, size + 10)), data.draw(st.integers(-1, 3000))
            assert stored.seek(place) == local.seek(place)
            assert stored.read(length) == local.read(length)
            assert stored.tell() == local.tell()
        assert stored.seek(0, os.SEEK_END) == size


def test_a_small_file_is_fetched_once_though_it_is_opened_often(store):
    file = StoredFile(store.put("small.bin", b"x" * 5000))
    pin = PinnedFile(file, file.stat())
    for _ in range(3):
        with pin.open("rb") as opened:
            assert opened.read() == b"x" * 5000
    assert store.count("GET", "small.bin") == 1


def test_of_a_large_file_only_a_few_blocks_are_kept(store, small_blocks):
    file = StoredFile(store.put("large.bin", b"".join(bytes([number]) * 1000 for number in range(20))))
    pin = PinnedFile(file, file.stat())
    with pin.open("rb") as opened:
        assert opened.read(100) == b"\0" * 100
        opened.seek(19_500)
        assert opened.read() == b"\x13" * 500
        assert store.count("GET", "large.bin") <= 3  # not the blocks between
        opened.seek(0)
        assert len(opened.read()) == 20_000
    assert len(pin._blocks._blocks) <= 3
    assert store.count("GET", "large.bin") <= 23


def test_a_video_in_a_store_has_the_frames_of_the_file(store, tmp_path):
    for suffix in (".mp4", ".mkv", ".ts", ".avi"):
        path = write_video(tmp_path / f"clip{suffix}", num_frames=12)
        file = StoredFile(store.put(path.name, path))
        sent = pickle.loads(pickle.dumps(PinnedFile(file, file.stat())))  # to a decoder process
        with open_scaled(path, REGION) as local, open_scaled(sent, REGION) as stored:
            (expected,), (found,) = local.read(), stored.read()
            assert np.array_equal(found.pixels, expected.pixels)
            assert np.array_equal(found.pts_seconds, expected.pts_seconds)
            assert stored.report() == local.report()


def test_a_damaged_video_in_a_store_is_refused_for_the_same_reason(store, tmp_path):
    whole = write_video(tmp_path / "clip.mp4", num_frames=30).read_bytes()
    blank = whole[:9000] + b"\0" * 2000 + whole[11_000:]
    for number, content in enumerate((whole[: len(whole) // 2], b"nothing", b"", blank)):
        path = tmp_path / f"damaged{number}.mp4"
        path.write_bytes(content)
        with pytest.raises(VideoError) as local, open_scaled(path, REGION) as reader:
            list(reader.read())
        file = StoredFile(store.put(path.name, path))
        with pytest.raises(VideoError) as stored, open_scaled(file, REGION) as reader:
            list(reader.read())
        assert str(stored.value).removeprefix(str(file)) == str(local.value).removeprefix(str(path))


def test_other_readers_refuse_a_store(store, tmp_path):
    file = StoredFile(store.put("clip.mp4", write_video(tmp_path / "clip.mp4")))
    for reader in ("decord", "opencv"):
        with pytest.raises(VideoError, match="only PyAV reads: expected --reader auto or pyav"):
            open_scaled(file, REGION, reader=reader)


def test_a_lost_connection_is_not_taken_for_damage(store, tmp_path, monkeypatch):
    monkeypatch.setattr(ranges, "BLOCK_BYTES", 20_000)
    path = write_video(tmp_path / "clip.mp4", num_frames=40)
    assert path.stat().st_size > 60_000
    file = StoredFile(store.put("clip.mp4", path))
    for allowed in range(4):
        fetched = []

        def refuse(request, allowed=allowed, fetched=fetched):
            fetched.extend([request] if request.method == "GET" else [])
            return Answer("") if len(fetched) > allowed else None

        monkeypatch.setattr(store, "refuse", refuse)
        with (
            trying_once(),
            pytest.raises(OSError, match="no connection to the store") as lost,
            pinned(file) as pin,
        ):
            list(open_scaled(pin, REGION).read())
        assert describe_os_error(lost.value).startswith(f"cannot read or write {file} (")


def test_a_refusal_is_not_taken_for_damage_by_a_decoder_process(store, tmp_path, monkeypatch):
    file = StoredFile(store.put("clip.mp4", write_video(tmp_path / "clip.mp4", num_frames=40)))
    denied = Answer("403 Forbidden", "AccessDenied")
    monkeypatch.setattr(store, "refuse", lambda request: denied if request.method == "GET" else None)
    with DecoderProcesses(1) as processes:
        with pytest.raises(OSError, match="access is denied"), pinned(file) as pin:
            processes.open_scaled(pin, REGION)
        monkeypatch.setattr(store, "refuse", lambda request: None)
        with pinned(file) as pin, processes.open_scaled(pin, REGION) as reader:
            assert sum(len(batch.pixels) for batch in reader.read()) == 40


def test_a_store_that_refuses_some_requests_is_asked_again(store, monkeypatch):
    draw = random.Random(0).random
    monkeypatch.setattr(
        store, "refuse", lambda request: Answer("503 Service Unavailable", "SlowDown") if draw() < 0.05 else None
    )
    for number in range(20):
        put(address(f"some/{number}"), b"%d" % number)
    assert [read_object(address(f"some/{number}")) for number in range(20)] == [b"%d" % n for n in range(20)]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer("403 Forbidden", "AccessDenied"), "access is denied"),
        (Answer("403 Forbidden", "InvalidAccessKeyId"), "the store does not know the access key|access is denied"),
        (
            Answer("403 Forbidden", "SignatureDoesNotMatch"),
            "the secret key of your|access is denied",
        ),
        (Answer("404 Not Found", "NoSuchBucket"), "there is no such"),
    ],
)
def test_refusals_are_told_in_words_and_without_credentials(store, monkeypatch, answer, reason):
    clip = store.put("clip.bin", b"x")
    monkeypatch.setattr(store, "refuse", lambda request: answer)
    for request in (
        lambda: list_folder(address("folder")),
        lambda: StoredFile(clip).stat(),
        lambda: read_object(clip),
        lambda: put(clip, b"y"),
        lambda: remove_object(clip),
    ):
        with pytest.raises(OSError, match="bucket") as refused:
            request()
        sentence = describe_os_error(refused.value)
        assert any(words in sentence for words in reason.split("|")), sentence
        assert sentence.startswith(f"cannot read or write s3://{BUCKET}/")
        assert SECRET not in sentence
        assert "name-of-this-test" not in sentence


def test_an_object_that_changes_while_it_is_read_is_noticed(store, small_blocks):
    file = StoredFile(store.put("changing.bin", b"x" * 5000))
    with file.open("rb") as opened:
        assert opened.read(10) == b"x" * 10
        store.put("changing.bin", b"y" * 10)
        with pytest.raises(OSError, match=r"became shorter|no such|reports"):
            opened.read()


def test_a_folder_is_listed_by_one_request_for_a_thousand_objects(store):
    for number in range(3):
        put(address(f"listed/{number}.mp4"), b"x" * number)
    put(address("listed/below/deep.mp4"), b"x")
    store.requests.clear()
    assert {name: status.st_size for name, status in list_folder(address("listed/")).items()} == {
        "0.mp4": 0,
        "1.mp4": 1,
        "2.mp4": 2,
    }
    assert len(store.requests) == 1
    assert list_folder(address("nothing")) == {}


def test_files_are_written_whole(store, tmp_path):
    for size in (0, 10, 12_000_000):  # the last one in parts
        path = tmp_path / f"{size}.bin"
        path.write_bytes(os.urandom(size))
        write_object(address(path.name), path)
        assert read_object(address(path.name)) == path.read_bytes()
    remove_object(address("10.bin"))
    assert not StoredFile(address("10.bin")).is_file()
    with av.open(str(write_video(tmp_path / "clip.mp4"))) as container:
        assert container.streams.video
