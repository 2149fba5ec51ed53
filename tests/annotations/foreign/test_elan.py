"""ELAN files are read as pympi-ling reads them, and what is written is read back by it, with the same frames."""

import random
import tempfile
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_exchanges import (
    REAL,
    check_is_read_or_refused,
    damaged_xml,
    labelled_videos,
    placed,
    presence,
    refusal,
)
from made_work import MANY, assert_grows_linearly
from pympi.Elan import Eaf

from pipeline.annotations.foreign.base import LabelledVideo
from pipeline.annotations.foreign.elan import FORMAT, read
from pipeline.annotations.foreign.registry import recognise
from pipeline.annotations.foreign.unkept import CLOSE
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.times import FrameTimes

SAMPLE = REAL / "elan" / "sample_3.0.eaf"
# The elements that the schema EAFv3.0.xsd has below each element, in its order, with the attributes that it requires.
CHILDREN = {
    "ANNOTATION_DOCUMENT": ["HEADER", "TIME_ORDER", "TIER", "LINGUISTIC_TYPE"],
    "HEADER": ["MEDIA_DESCRIPTOR", "PROPERTY"],
    "TIME_ORDER": ["TIME_SLOT"],
    "TIER": ["ANNOTATION"],
    "ANNOTATION": ["ALIGNABLE_ANNOTATION"],
    "ALIGNABLE_ANNOTATION": ["ANNOTATION_VALUE"],
}
REQUIRED = {
    "ANNOTATION_DOCUMENT": {"DATE", "AUTHOR", "VERSION"},
    "MEDIA_DESCRIPTOR": {"MEDIA_URL", "MIME_TYPE"},
    "TIME_SLOT": {"TIME_SLOT_ID"},
    "TIER": {"TIER_ID", "LINGUISTIC_TYPE_REF"},
    "ALIGNABLE_ANNOTATION": {"ANNOTATION_ID", "TIME_SLOT_REF1", "TIME_SLOT_REF2"},
    "LINGUISTIC_TYPE": {"LINGUISTIC_TYPE_ID"},
}
HEAD = '<ANNOTATION_DOCUMENT AUTHOR="" DATE="" VERSION="3.0"><HEADER TIME_UNITS="milliseconds">{}</HEADER>'


def made(path: Path, *, header: str = "", slots: tuple = (0, 1000), tiers: str) -> Path:
    order = "".join(
        f'<TIME_SLOT TIME_SLOT_ID="ts{i}"' + ("" if time is None else f' TIME_VALUE="{time}"') + "/>"
        for i, time in enumerate(slots, start=1)
    )
    path.write_text(f"{HEAD.format(header)}<TIME_ORDER>{order}</TIME_ORDER>{tiers}</ANNOTATION_DOCUMENT>")
    return path


def aligned(identity: str, first: int, second: int, value: str) -> str:
    return (
        f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="{identity}" TIME_SLOT_REF1="ts{first}" TIME_SLOT_REF2='
        f'"ts{second}"><ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION>'
    )


def referring(identity: str, parent: str, value: str) -> str:
    return (
        f'<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{identity}" ANNOTATION_REF="{parent}">'
        f"<ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"
    )


def tier(name: str, annotations: str, attributes: str = "") -> str:
    return f'<TIER TIER_ID="{name}" LINGUISTIC_TYPE_REF="lt" {attributes}>{annotations}</TIER>'


@pytest.mark.skipif(not SAMPLE.exists(), reason="the real files are not on this machine")
def test_a_real_file_is_read_as_pympi_reads_it():
    document = read(SAMPLE)
    (recording,) = document.recordings
    assert recognise(SAMPLE) is FORMAT
    assert [media.file_name for media in recording.media] == ["r03_v20_s5.wav"]
    assert len(recording.events) + len(document.losses) == 8778
    reference = Eaf(str(SAMPLE))
    for name in ("text", "gestures", "gest_included"):
        ours = [(e.start, e.stop, e.label) for e in recording.events if e.place.startswith(f"tier '{name}',")]
        theirs = [
            (start / 1000, stop / 1000, value) for start, stop, value in reference.get_annotation_data_for_tier(name)
        ]
        assert sorted(ours) == sorted(theirs)
    ours = [(e.start, e.stop, e.label) for e in recording.events if e.place.startswith("tier 'words-symsub',")]
    theirs = reference.get_ref_annotation_data_for_tier("words-symsub")
    assert sorted(ours) == sorted((start / 1000, stop / 1000, value) for start, stop, value, *_ in theirs)
    assert {"prep", "hold", "stroke", "retr"} < set(document.classes)
    assert any("free text" in note for note in document.notes)


@pytest.mark.skipif(not SAMPLE.exists(), reason="the real files are not on this machine")
def test_slots_without_a_time_divide_the_time_between_their_aligned_neighbours():
    (recording,) = read(SAMPLE).recordings
    words = [event for event in recording.events if event.place.startswith("tier 'words-timesub',")]
    assert [(event.start, event.stop) for event in words[15:20]] == [
        pytest.approx((11 + 0.6 * i, 11.6 + 0.6 * i)) for i in range(5)
    ]


@given(labelled_videos())
def test_what_is_written_is_read_back_with_the_same_frames(video):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.eaf"
        losses = FORMAT.write(path, [video])
        document = read(path)
        reference = Eaf(str(path))
        check_is_valid(ElementTree.parse(path).getroot())
    (recording,) = document.recordings
    assert len(losses) == (video.probabilities is not None)
    assert (document.losses, document.notes) == ([], [])
    assert recording.media[0].file_name == video.video.name
    assert np.array_equal(placed(recording, video), presence(video))
    assert document.labels() == video.label_space.classes or not recording.events
    assert list(reference.tiers) == list(video.label_space.classes)
    theirs = [(name, *found) for name in reference.tiers for found in reference.get_annotation_data_for_tier(name)]
    ours = [
        (event.label, round(event.start * 1000), round(event.stop * 1000), event.label) for event in recording.events
    ]
    assert sorted(theirs) == sorted(ours)


@given(labelled_videos(first=st.integers(-500_000, -1)))
def test_times_before_0_are_counted_from_the_first_frame(video):
    with tempfile.TemporaryDirectory() as folder:
        FORMAT.write(Path(folder) / "clip.eaf", [video])
        root = ElementTree.parse(Path(folder) / "clip.eaf").getroot()
        (recording,) = read(Path(folder) / "clip.eaf").recordings
    assert all(int(slot.get("TIME_VALUE")) >= 0 for slot in root.iter("TIME_SLOT"))
    assert np.array_equal(placed(recording, video), presence(video))


def check_is_valid(root: ElementTree.Element) -> None:
    """Check what the schema says of the elements that are written."""
    for element in root.iter():
        order = CHILDREN.get(element.tag, [])
        places = [order.index(child.tag) for child in element]
        assert places == sorted(places)
        assert element.attrib.keys() >= REQUIRED.get(element.tag, set())
    identities = [s.get("TIME_SLOT_ID") for s in root.iter("TIME_SLOT")]
    identities += [a.get("ANNOTATION_ID") for a in root.iter("ALIGNABLE_ANNOTATION")]
    assert len(set(identities)) == len(identities)
    for annotation in root.iter("ALIGNABLE_ANNOTATION"):
        assert {annotation.get("TIME_SLOT_REF1"), annotation.get("TIME_SLOT_REF2")} <= set(identities)
    times = [int(slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")]
    assert times == sorted(times)
    assert {t.get("LINGUISTIC_TYPE_REF") for t in root.iter("TIER")} <= {
        t.get("LINGUISTIC_TYPE_ID") for t in root.iter("LINGUISTIC_TYPE")
    }


def test_the_video_is_named_by_percent_encoded_addresses(tmp_path):
    times = FrameTimes(np.array([0.0]), 0.04)
    video = LabelledVideo(tmp_path / "a b" / "Übung #1.mkv", np.array([0]), LabelSpace(("walk",)), times, 25.0)
    FORMAT.write(tmp_path / "out" / "clip.eaf", [video])
    media = next(ElementTree.parse(tmp_path / "out" / "clip.eaf").iter("MEDIA_DESCRIPTOR"))
    assert media.get("MEDIA_URL").isascii()
    assert unquote(urlsplit(media.get("MEDIA_URL")).path) == str(video.video)
    assert unquote(media.get("RELATIVE_MEDIA_URL")) == "./Übung #1.mkv"
    assert media.get("MIME_TYPE").startswith("video/")


def test_what_cannot_be_written_is_a_loss(tmp_path):
    space = LabelSpace(("walk", "not \ufffe XML"))
    times = FrameTimes(np.array([0.0, 0.0001, 0.04]), 0.04)
    video = LabelledVideo(tmp_path / "clip.mp4", np.array([0, 1, 0]), space, times, 25.0)
    kinds = [loss.kind for loss in FORMAT.write(tmp_path / "clip.eaf", [video])]
    assert kinds == [
        "classes have a name that XML cannot hold and are left out",
        "segments are shorter than 1 ms and are left out",
        CLOSE,
    ]
    assert [(e.start, e.stop) for e in read(tmp_path / "clip.eaf").recordings[0].events] == [(0.04, 0.08)]


def test_an_annotation_without_a_value_has_the_name_of_its_tier_and_the_participant_is_the_subject(tmp_path):
    tiers = tier("walk", aligned("a1", 1, 2, ""), 'PARTICIPANT="Rob"') + tier("x", aligned("a2", 1, 2, " runs\n fast "))
    document = read(made(tmp_path / "clip.eaf", tiers=tiers))
    assert [(event.label, event.subject) for event in document.recordings[0].events] == [
        ("walk", "Rob"),
        ("runs fast", ""),
    ]
    assert document.notes == ["the file names no video: it is looked for by the name of the file"]
    assert document.recordings[0].media[0].name == "clip"


def test_an_annotation_that_refers_to_another_has_its_times(tmp_path):
    tiers = tier("pos", referring("a3", "a2", "noun") + referring("a4", "a2", "") + referring("a5", "a9", "x"))
    tiers += tier("word", referring("a2", "a1", "dog")) + tier("text", aligned("a1", 1, 2, "the dog"))
    tiers += tier("ring", referring("a6", "a7", "x") + referring("a7", "a6", "x"))
    document = read(made(tmp_path / "clip.eaf", tiers=tiers))
    found = [(event.label, event.start, event.stop) for event in document.recordings[0].events]
    assert found == [("noun", 0, 1), ("dog", 0, 1), ("the dog", 0, 1)]
    assert [loss.place for loss in document.losses] == [
        "tier 'pos', annotation a4",
        "tier 'pos', annotation a5",
        "tier 'ring', annotation a6",
        "tier 'ring', annotation a7",
    ]


def test_annotations_without_times_are_losses(tmp_path):
    tiers = tier(
        "x", aligned("a1", 1, 2, "a") + aligned("a2", 3, 4, "b") + aligned("a3", 5, 1, "c") + aligned("a4", 1, 1, "d")
    )
    document = read(made(tmp_path / "clip.eaf", slots=(0, None, "soon", 900, 1000), tiers=tiers))
    assert document.recordings[0].events == []
    assert [loss.kind for loss in document.losses] == [
        "annotations have no time and are left out",
        "annotations have no time and are left out",
        "annotations stop before they start and are left out",
        "annotations have no duration and are left out",
    ]


@pytest.mark.parametrize(("origin", "expected"), [("1500", -1.5), ("-200", 0.2), ("x", 0.0)])
def test_the_first_video_is_taken_with_its_offset(origin, expected, tmp_path):
    header = '<MEDIA_DESCRIPTOR MEDIA_URL="file:///a/sound.wav" MIME_TYPE="audio/x-wav"/>'
    header += f'<MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/a/day%201.mp4" MIME_TYPE="video/mp4" TIME_ORIGIN="{origin}"/>'
    header += '<MEDIA_DESCRIPTOR MEDIA_URL="" RELATIVE_MEDIA_URL="./side%201.mp4" MIME_TYPE="video/mp4"/>'
    document = read(made(tmp_path / "x.eaf", header=header, tiers=""))
    (media,) = document.recordings[0].media
    assert (media.file_name, media.start) == ("day 1.mp4", expected)
    assert [loss.what for loss in document.losses] == ["file:///a/sound.wav", "./side 1.mp4"]
    assert len(document.notes) == (origin == "x")


def test_controlled_vocabularies_declare_classes(tmp_path):
    tiers = (
        tier("x", aligned("a1", 1, 2, "walk"))
        + '<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="lt" CONTROLLED_VOCABULARY_REF="v"/>'
    )
    new = '<CV_ENTRY_ML CVE_ID="1"><CVE_VALUE LANG_REF="und">rest</CVE_VALUE></CV_ENTRY_ML>'
    tiers += f'<CONTROLLED_VOCABULARY CV_ID="v"><DESCRIPTION/>{new}<CV_ENTRY>run</CV_ENTRY></CONTROLLED_VOCABULARY>'
    assert read(made(tmp_path / "x.eaf", tiers=tiers)).labels() == ("rest", "run", "walk")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<annotations/>", ": has the root element 'annotations', expected ANNOTATION_DOCUMENT"),
        ('<ANNOTATION_DOCUMENT><HEADER TIME_UNITS="PAL-frames"/></ANNOTATION_DOCUMENT>', ": counts time in PAL-frames"),
        ('<!DOCTYPE x [<!ENTITY y "z">]><ANNOTATION_DOCUMENT/>', ": has a document type"),
    ],
)
def test_other_files_are_refused(text, expected, tmp_path):
    (tmp_path / "x.eaf").write_text(text)
    assert refusal(tmp_path / "x.eaf", read).startswith(expected)


def test_damaged_files_are_read_or_refused(tmp_path):
    tiers = tier("pos", referring("a3", "a2", "noun")) + tier("word", referring("a2", "a1", "dog"), 'PARENT_REF="text"')
    tiers += tier("text", aligned("a1", 1, 2, "the dog") + aligned("a4", 2, 3, "x"), 'PARTICIPANT="Rob"')
    tiers += '<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="lt" CONTROLLED_VOCABULARY_REF="v"/>'
    tiers += '<CONTROLLED_VOCABULARY CV_ID="v"><CV_ENTRY>run</CV_ENTRY></CONTROLLED_VOCABULARY>'
    header = '<MEDIA_DESCRIPTOR MEDIA_URL="file:///a/x.mp4" MIME_TYPE="video/mp4" TIME_ORIGIN="5"/>'
    root = ElementTree.parse(made(tmp_path / "x.eaf", header=header, slots=(0, None, 3000), tiers=tiers)).getroot()
    rng = random.Random(1)
    for _ in range(250):
        check_is_read_or_refused(damaged_xml(root, rng), tmp_path / "y.eaf", read)


def test_work_grows_linearly_with_annotations(tmp_path):
    def prepare(number):
        annotations = "".join(aligned(f"a{i}", 1 + i % 2, 3 + i % 2, f"{i % 7}") for i in range(number))
        return partial(read, made(tmp_path / "x.eaf", slots=(0, 1, 1000, 1001), tiers=tier("x", annotations)))

    assert_grows_linearly(prepare)
    assert len(read(tmp_path / "x.eaf").recordings[0].events) == MANY
