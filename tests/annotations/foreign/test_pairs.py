"""Marks become events: each stop belongs to the start before it of the same behaviour, subject and modifiers."""

import math
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from pipeline.annotations.foreign.pairs import NO_PARTNER, NO_START, NO_STOP, UNCERTAIN, Kind, Mark, events_from_marks

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


@given(st.integers(1, 6), st.data(), st.booleans(), st.sampled_from(KINDS))
def test_a_row_that_cannot_be_read_costs_its_own_event_and_inverts_no_other(count, data, has_time, kinds) -> None:
    marks = [Mark(float(index), "a", kinds[index % 2]) for index in range(2 * count)]
    lost = data.draw(st.integers(0, len(marks) - 1))
    marks[lost] = marks[lost]._replace(is_lost=True, seconds=float(lost) if has_time else math.nan)
    events, losses = spans_of(marks)
    assert events == [(2.0 * index, 2 * index + 1.0, "a") for index in range(count) if index != lost // 2]
    is_unstarted = kinds[1] is Kind.STOP and lost % 2 == 0
    assert losses == [NO_START if is_unstarted else NO_PARTNER]


def test_turns_whose_order_is_not_known_are_lost() -> None:
    turns = [Mark(seconds, "a", Kind.TURN) for seconds in (1.0, 2.0, 3.0, 4.0)]
    others = [Mark(seconds, "b", Kind.TURN) for seconds in (1.0, 4.0)]
    lost = Mark(math.nan, "a", Kind.TURN, is_lost=True)
    assert spans_of([*turns[::-1], lost, *others]) == ([(1.0, 4.0, "b")], [UNCERTAIN] * 4)
    unnamed = Mark(math.nan, "", Kind.POINT, is_lost=True)
    events, losses = spans_of([*sorted([*turns[:3], *others], key=lambda mark: mark.seconds), unnamed])
    assert (events, losses) == ([(1.0, 2.0, "a"), (1.0, 4.0, "b")], [NO_STOP])
    events, losses = spans_of([*turns[:2], unnamed, others[0], turns[2], others[1]])
    assert (events, losses) == ([(1.0, 4.0, "b")], [UNCERTAIN, UNCERTAIN, NO_STOP])
