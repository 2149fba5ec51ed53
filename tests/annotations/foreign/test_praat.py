"""A TextGrid is read as Praat reads it, by its values; praatio reads what is written."""

import random
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_exchanges import check_is_read_or_refused, damaged_text, labelled_videos, placed, presence, refusal
from made_work import MANY, assert_grows_linearly
from praatio import textgrid

from pipeline.annotations.foreign.document import Media
from pipeline.annotations.foreign.praat import FORMAT, read
from pipeline.annotations.foreign.registry import recognise

LONG = """File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0 
xmax = 2.5 
tiers? <exists> 
size = 2 
item []: 
    item [1]:
        class = "IntervalTier" 
        name = "behaviour" 
        xmin = 0 
        xmax = 2.5 
        intervals: size = 3 
        intervals [1]:
            xmin = 0 
            xmax = 2.5e-1 
            text = "" 
        intervals [2]:
            xmin = 0.25 
            xmax = 1.125 
            text = "says ""a 1 b"" 
twice" 
        intervals [3]:
            xmin = 1.125 
            xmax = 2.5 
            text = "rests" 
    item [2]:
        class = "TextTier" 
        name = "calls" 
        xmin = 0 
        xmax = 2.5 
        points: size = 1 
        points [1]:
            number = 0.5 
            mark = "chirp" 
"""  # noqa: W291
SHORT = """File type = "ooTextFile"
Object class = "TextGrid"

0
2.5
<exists>
2
"IntervalTier"
"behaviour"
0
2.5
3
0
0.25
""
0.25 ! a comment, "in quotes"
1.125
"says ""a 1 b"" twice"
1.125
2.5
"rests"
"TextTier" "calls" 0 2.5 1 0.5 "chirp"
"""
EVENTS = [(0.25, 1.125, 'says "a 1 b" twice'), (1.125, 2.5, "rests"), (0.5, None, "chirp")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(
    "text", [LONG, SHORT, LONG.replace("\n", "\r\n"), SHORT.replace('"ooTextFile"', '"ooTextFile short"')]
)
def test_long_and_short_files_say_the_same(text, encoding, tmp_path):
    path = tmp_path / "clip 1.TextGrid"
    path.write_bytes(text.encode(encoding))
    document = read(path)
    (recording,) = document.recordings
    assert recognise(path) is FORMAT
    assert [(event.start, event.stop, event.label) for event in recording.events] == EVENTS
    assert recording.media == (Media("clip 1"),)
    assert document.losses == []


@given(labelled_videos())
def test_what_is_written_is_read_back_with_the_same_frames(video):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.TextGrid"
        losses = FORMAT.write(path, [video])
        document = read(path)
        reference = textgrid.openTextgrid(str(path), includeEmptyIntervals=False)
    (recording,) = document.recordings
    assert (document.losses, len(losses)) == ([], video.probabilities is not None)
    assert np.array_equal(placed(recording, video), presence(video))
    assert document.labels() == video.label_space.classes or not recording.events
    assert reference.tierNames == video.label_space.classes
    theirs = [(e.start, e.end, e.label) for name in reference.tierNames for e in reference.getTier(name).entries]
    assert theirs == [(event.start, event.stop, event.label) for event in recording.events]


@given(labelled_videos(first=st.integers(-500_000, -1)))
def test_times_before_0_are_kept(video):
    with tempfile.TemporaryDirectory() as folder:
        FORMAT.write(Path(folder) / "clip.TextGrid", [video])
        (recording,) = read(Path(folder) / "clip.TextGrid").recordings
    assert np.array_equal(placed(recording, video), presence(video))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("start,stop,class\n", ':1: does not begin with File type = "ooTextFile"'),
        ('File type = "ooTextFile"\nObject class = "Pitch 1"\n', ":1: does not begin with"),
        (LONG[: LONG.index("xmax = 1.125")], ":21: ends before a time of tier 'behaviour': the file is cut off"),
        (LONG.replace("size = 2 ", "size = x "), ":10: got 'IntervalTier', expected the number of tiers"),
        (LONG.replace("size = 2 ", "size = -2 "), ":7: got '-2', expected the number of tiers"),
        (LONG.replace("xmin = 0.25", 'xmin = "0"'), ":20: got '0', expected a time of tier 'behaviour'"),
        (LONG.replace("TextTier", "OtherTier"), ":29: got a tier of the class 'OtherTier', expected IntervalTier"),
        ("ooBinaryFile\x08TextGrid", ": is a binary file of Praat, expected text"),
    ],
)
def test_other_files_are_refused_with_the_line(text, expected, tmp_path):
    (tmp_path / "x.TextGrid").write_text(text)
    assert refusal(tmp_path / "x.TextGrid", read).startswith(expected)


def test_times_that_are_none_are_losses(tmp_path):
    text = SHORT.replace("\n1.125\n2.5\n", "\n1,125\n2.5\n").replace("1 0.5", "1 5x").replace("0.25 !", "2 !")
    (tmp_path / "x.TextGrid").write_text(text)
    document = read(tmp_path / "x.TextGrid")
    assert document.recordings[0].events == []
    assert [loss.kind for loss in document.losses] == [
        "intervals stop before they start and are left out",
        "intervals have a time with a decimal comma where a point is expected and are left out",
        "points have a time that is not a number and are left out",
    ]


def test_damaged_files_are_read_or_refused(tmp_path):
    rng = random.Random(1)
    for index in range(500):
        content = damaged_text((LONG, SHORT)[index % 2], rng).encode()
        check_is_read_or_refused(content, tmp_path / "y.TextGrid", read)


def test_work_grows_linearly_with_intervals(tmp_path):
    path = tmp_path / "x.TextGrid"

    def prepare(number):
        intervals = "".join(f'{i}\n{i + 1}\n"{i % 7}"\n' for i in range(number))
        tier = f'"IntervalTier"\n"x"\n0\n{number}\n{number}\n{intervals}'
        path.write_text(f'"ooTextFile"\n"TextGrid"\n0\n{number}\n<exists>\n1\n{tier}')
        return partial(read, path)

    assert_grows_linearly(prepare)
    assert len(read(path).recordings[0].events) == MANY
