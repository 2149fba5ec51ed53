"""Marks become events: each stop belongs to the start before it of the same behaviour, subject and modifiers."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pipeline.annotations.foreign.pairs import NO_START, NO_STOP, Kind, Mark, events_from_marks

SPANS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 5)), max_size=8)
KINDS = [(Kind.START, Kind.STOP), (Kind.TURN, Kind.TURN)]


def spans_of(marks: list[Mark]) -> tuple[list[tuple[float, float | None, str]], list[str]]:
    events, losses = events_from_marks(marks)
    return [(event.start, event.stop, event.label) for event in events], [loss.kind for loss in losses]


@given(st.dictionaries(st.sampled_from("abc"), SPANS), st.sampled_from(KINDS), st.randoms())
def test_spans_come_back_from_their_marks_in_any_order(spans, kinds, random) -> None:
    expected, marks = [], []
    for label, steps in spans.items():
        moment = 0.0
        for gap, length in steps:
            start, stop = moment + gap, moment + gap + length  # a gap of 0: a stop and a start at one time
            expected.append((start, stop, label))
            marks += [Mark(start, label, kinds[0]), Mark(stop, label, kinds[1])]
            moment = stop
    random.shuffle(marks)
    events, losses = spans_of(marks)
    assert Counter(events) == Counter(expected)
    assert [event[0] for event in events] == sorted(event[0] for event in events)
    assert not losses


@given(st.lists(st.tuples(st.integers(0, 5), st.sampled_from("ab"), st.sampled_from(list(Kind))), max_size=12))
def test_every_mark_is_an_event_or_a_loss(drawn) -> None:
    events, losses = events_from_marks([Mark(float(seconds), label, kind) for seconds, label, kind in drawn])
    assert len(drawn) == sum(1 if event.stop is None else 2 for event in events) + len(losses)
    assert all(event.stop is None or event.stop >= event.start for event in events)


def test_marks_without_a_partner_are_lost() -> None:
    marks = [
        Mark(1.0, "a", Kind.START),
        Mark(2.0, "a", Kind.START),
        Mark(3.0, "a", Kind.STOP),
        Mark(4.0, "a", Kind.STOP),
    ]
    assert spans_of(marks) == ([(2.0, 3.0, "a")], [NO_STOP, NO_START])
    assert spans_of([Mark(1.0, "a", Kind.START)] * 3) == ([], [NO_STOP] * 3)


def test_subjects_and_modifiers_are_apart() -> None:
    marks = [
        Mark(1.0, "a", Kind.TURN, "x", ("m",)),
        Mark(2.0, "a", Kind.TURN, "y", ("m",)),
        Mark(3.0, "a", Kind.TURN, "x"),
    ]
    assert spans_of(marks) == ([], [NO_STOP] * 3)


def test_a_state_without_duration_is_one_event() -> None:
    assert spans_of([Mark(1.0, "a", Kind.START), Mark(1.0, "a", Kind.STOP)]) == ([(1.0, 1.0, "a")], [])


def test_the_probability_is_taken_out_of_the_comment() -> None:
    marks = [Mark(1.0, "a", Kind.TURN, comment="probability 0.5000"), Mark(2.0, "a", Kind.TURN, comment="late")]
    (event,), _ = events_from_marks(marks)
    assert (event.score, event.comment) == (0.5, "late")
