"""FFmpeg and pysubs2, which share no code with the writers, read the intended subtitles."""

import html
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import av
import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.text.subtitles import Cue, write_srt, write_webvtt

Write = Callable[..., None]
Read = Callable[[Path], list[tuple[int, int, str]]]
WRITERS = [(".vtt", write_webvtt), (".srt", write_srt)]


def read_back(path: Path) -> list[tuple[int, int, str]]:
    """(start, stop, text) of every cue, times in milliseconds."""
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[0]
        assert stream.time_base.denominator == 1000 * stream.time_base.numerator
        packets = [(packet.pts, packet.duration, bytes(packet).decode()) for packet in container.demux(stream)]
    decode = html.unescape if path.suffix == ".vtt" else str
    return [(start, start + duration, decode(text)) for start, duration, text in packets if start is not None]


def read_by_pysubs2(path: Path) -> list[tuple[int, int, str]]:
    """The same as `read_back`, by pysubs2."""
    decode = html.unescape if path.suffix == ".vtt" else str
    events = pysubs2.load(str(path), format_=path.suffix[1:], keep_html_tags=True)
    return [(event.start, event.end, decode(event.text)) for event in events]


LATE = 3600.0 * 101  # seconds
READERS = [(read_back, [0.0, 3599.9996, LATE]), (read_by_pysubs2, [0.0, 3599.9996])]  # and starts that both can read


@st.composite
def cue_lists(draw: st.DrawFn, starts: list[float]) -> list[Cue]:
    """Consecutive cues, some with gaps, of at least 2 ms and with a text."""
    seconds = draw(st.sampled_from(starts))
    words = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=8)
    cues = []
    for _ in range(draw(st.integers(1, 5))):
        start = seconds + draw(st.floats(0, 100))
        seconds = start + draw(st.floats(0.002, 100))
        cues.append(Cue(start, seconds, " ".join(draw(st.lists(words, min_size=1, max_size=4)))))
    return cues


@pytest.mark.parametrize(("read", "starts"), READERS)
@pytest.mark.parametrize(("suffix", "write"), WRITERS)
@given(data=st.data())
def test_times_and_texts_survive(
    tmp_path_factory: pytest.TempPathFactory,
    suffix: str,
    write: Write,
    read: Read,
    starts: list[float],
    data: st.DataObject,
) -> None:
    cues = data.draw(cue_lists(starts))
    path = tmp_path_factory.getbasetemp() / f"any{suffix}"
    write(path, cues)
    found = read(path)
    assert [text for *_, text in found] == [
        cue.text.replace("-->", "->" if suffix == ".srt" else "-->") for cue in cues
    ]
    for (start, stop, _), cue in zip(found, cues, strict=True):
        assert start == pytest.approx(1000 * cue.start_seconds, abs=0.5001)
        assert stop == pytest.approx(1000 * cue.stop_seconds, abs=0.5001)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(found))


def test_both_formats_are_written_to_the_byte(tmp_path: Path) -> None:
    cues = [Cue(0.0, 1.0004, "a & b"), Cue(3661.5, 359999.9996, "é <i> --> x")]
    write_webvtt(tmp_path / "clip.vtt", cues)
    assert (tmp_path / "clip.vtt").read_bytes().decode() == (
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.000\na &amp; b\n\n01:01:01.500 --> 100:00:00.000\né &lt;i&gt; --&gt; x\n"
    )
    write_srt(tmp_path / "clip.srt", cues)
    assert (tmp_path / "clip.srt").read_bytes().decode() == (
        "1\n00:00:00,000 --> 00:00:01,000\na & b\n\n2\n01:01:01,500 --> 100:00:00,000\né <i> -> x\n"
    )


@pytest.mark.parametrize(("suffix", "write"), WRITERS)
def test_line_breaks_in_a_text_never_end_a_cue(tmp_path: Path, suffix: str, write: Write) -> None:
    text = " one\n\n2\r\n00:00:09.000 --> 00:00:10.000\u2028three\t"
    write(tmp_path / f"clip{suffix}", [Cue(0, 1, text), Cue(1, 2, "next")])
    arrow = "->" if suffix == ".srt" else "-->"
    one_line = f"one 2 00:00:09.000 {arrow} 00:00:10.000 three"
    assert read_back(tmp_path / f"clip{suffix}") == [(0, 1000, one_line), (1000, 2000, "next")]


@pytest.mark.parametrize(("suffix", "write"), WRITERS)
def test_cues_without_text_or_duration_are_left_out(tmp_path: Path, suffix: str, write: Write) -> None:
    path = tmp_path / f"clip{suffix}"
    write(path, [Cue(0, 1, " \n"), Cue(1, 1.0004, "short"), Cue(1.0004, 1.0006, "seen"), Cue(2, 2, "never")])
    assert read_back(path) == [(1000, 1001, "seen")]
    write(path, [])
    assert path.read_text() == ("WEBVTT\n" if suffix == ".vtt" else "")


@pytest.mark.parametrize(("suffix", "write"), WRITERS)
def test_cues_that_overlap_are_all_readable(tmp_path: Path, suffix: str, write: Write) -> None:
    cues = [Cue(0, 5, "long"), Cue(0, 2, "two"), Cue(1, 3, "three"), Cue(6, 7, "last")]
    write(tmp_path / f"clip{suffix}", cues, may_overlap=True)
    expected = [(1000 * start, 1000 * stop, text) for start, stop, text in cues]
    assert read_back(tmp_path / f"clip{suffix}") == expected
    assert read_by_pysubs2(tmp_path / f"clip{suffix}") == expected
    with pytest.raises(ValueError, match="cue 1: starts at 0 seconds, before the last one starts at 1"):
        write(tmp_path / f"clip{suffix}", [Cue(1, 2, "one"), Cue(0, 2, "two")], may_overlap=True)


@pytest.mark.parametrize("write", [write_webvtt, write_srt])
@pytest.mark.parametrize(
    ("cues", "message"),
    [
        ([Cue(2.0, 1.0, "back")], "cue 0: got 2.0 to 1.0 seconds"),
        ([Cue(0, 1, "fine"), Cue(-0.5, 1.0, "early")], "cue 1: got -0.5"),
        ([Cue(math.nan, 1.0, "when")], "cue 0: got nan"),
        ([Cue(0.0, math.nan, "until when")], "to nan seconds"),
        ([Cue(0.0, math.inf, "for ever")], "to inf seconds"),
        ([Cue(0, 2, "one"), Cue(1, 3, "two")], "cue 1: starts at 1 seconds, before the last one stops at 2"),
        ([Cue(0, 2, ""), Cue(1, 3, "two")], "cue 1: starts at 1 seconds"),
    ],
)
def test_impossible_times_are_refused_and_leave_the_file_unchanged(
    tmp_path: Path, write: Write, cues: list[Cue], message: str
) -> None:
    path = tmp_path / "clip.vtt"
    path.write_text("precious")
    with pytest.raises(ValueError, match=message):
        write(path, cues)
    assert path.read_text() == "precious"
    assert list(tmp_path.iterdir()) == [path]
