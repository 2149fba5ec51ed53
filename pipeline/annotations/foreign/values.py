"""The values in files of other programs: numbers of any JSON or XML, names of classes and of media files.

Files may have anything in the place of a value; what cannot be used becomes a Loss and never an error.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from pipeline.annotations.foreign import cells
from pipeline.annotations.foreign.cells import TimeFault, fault_of_time
from pipeline.annotations.foreign.document import Event, Loss
from pipeline.annotations.label_space import find_control_character
from pipeline.annotations.problems import shorten

MAX_TIME = float(1 << 40)  # in any unit; more is no time of a video
COARSEST, FINEST = 3, 6  # decimals: fewer may be chance, and more are not measured
REMOTE = frozenset({"http", "https", "ftp", "s3", "gs", "azure-blob", "azure-spi", "redis"})


def number(value: object) -> float | None:
    """Return a number in a file, as JSON or as text; None where the value is none, or one that no time has.

    >>> number(1.5), number("1.5"), number(True), number("1,5"), number(float("nan")), number(10**400)
    (1.5, 1.5, None, None, None, None)
    """
    if isinstance(value, str):
        return cells.number(value, bound=MAX_TIME)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if abs(value) < MAX_TIME else None  # not where it is NaN


def whole_number(value: object) -> int | None:
    """Return a whole number in a file, such as a frame; None where the value is none.

    >>> whole_number("87"), whole_number(87.0), whole_number(87.5)
    (87, 87, None)
    """
    found = number(value)
    return int(found) if found is not None and found.is_integer() else None


def resolution_of(times: Iterable[float]) -> float:
    """Return the distance of neighbouring times that are written with as many decimals as these, up to 0.001 s.

    >>> resolution_of([1.5, 2.25]), resolution_of([0.0417]), resolution_of([1 / 3])
    (0.001, 0.0001, 1e-06)
    """
    decimals = COARSEST
    for time in times:
        while decimals < FINEST and round(time, decimals) != time:
            decimals += 1
    return 10.0**-decimals


def one_line(value: object) -> str:
    r"""Return a text in a file as one line without blanks around it; "" where the value is not a text.

    >>> one_line(" walks\n slowly "), one_line(None), one_line("wild  boar")
    ('walks slowly', '', 'wild  boar')
    """
    if not isinstance(value, str):
        return ""
    text = value.strip()
    return text if text.isprintable() or not find_control_character(text) else " ".join(text.split())


def shown(value: object) -> str:
    """Return a value as a user is shown it, in quotes where it is a text."""
    return shorten(repr(value))


def timed_event(
    start: object, stop: object, label: str, place: str, losses: list[Loss], *, noun: str, **details: Any
) -> Event | None:
    """Return an event, if its times are times.

    Args:
        start: What the file has as its start.
        stop: What it has as its stop.
        label: The behaviour.
        place: Where it is in the file.
        losses: A Loss is added where there is no event.
        noun: What the program calls an event, in the plural.
        details: Other attributes of the event.
    """
    times = number(start), number(stop)
    if times[0] is None or times[1] is None:
        bad = start if times[0] is None else stop
        losses.append(Loss(f"{noun} {_why_no_time(bad)} and are left out", place, f"{label}: got {shown(bad)}"))
    elif times[1] < times[0]:
        losses.append(Loss(f"{noun} stop before they start and are left out", place, f"{label}: {start} to {stop}"))
    elif times[1] == times[0]:
        losses.append(Loss(f"{noun} have no duration and are left out", place, f"{label}: at {start}"))
    else:
        return Event(times[0], times[1], label, place=place, **details)
    return None


def _why_no_time(value: object) -> str:
    match fault_of_time(value) if isinstance(value, str) else TimeFault.OTHER:
        case TimeFault.EMPTY:
            return "have no time"
        case TimeFault.DATE:
            return "have a date where a time is expected"
        case TimeFault.DECIMAL_COMMA:
            return "have a time with a decimal comma where a point is expected"
        case TimeFault.OTHER:
            return "have no time" if value is None else "have a time that is not a number"


def media_name(address: str) -> str:
    """Return the name of a media file as `Media` takes it, from an address or a path.

    >>> media_name("https://host/a/clip%201.mp4?token=x"), media_name("file:///a/clip%201.mp4"), media_name("a/b.mp4")
    ('/a/clip 1.mp4', 'file:///a/clip%201.mp4', 'a/b.mp4')
    """
    try:
        parts = urlsplit(address)
    except ValueError:  # such as "http://["
        return PurePosixPath(address).name
    return unquote(parts.path) if parts.scheme.lower() in REMOTE else address


def distinct_names(videos: Sequence[Path], *, stems: bool = False) -> list[str]:
    """Return the names by which a file of several videos calls them: whole paths where short ones are not distinct.

    Args:
        videos: The video files.
        stems: Whether names have no suffix.

    >>> distinct_names([Path("a/1.mp4"), Path("a/2.mp4")]), distinct_names([Path("a/1.mp4"), Path("b/1.mp4")])
    (['1.mp4', '2.mp4'], ['a/1.mp4', 'b/1.mp4'])
    """
    names = [video.stem if stems else video.name for video in videos]
    counts = Counter(names)
    return [name if counts[name] == 1 else str(video) for name, video in zip(names, videos, strict=True)]


def classes_of_tiers(tiers: dict[str, set[str]]) -> list[str]:
    """Return the classes that tiers declare by their names: all, where each tier has its own name as its only label.

    Such files have one tier for each class, as Framescribe writes them, and a tier may be empty.

    Args:
        tiers: The labels that occur in each tier, by its name.

    >>> classes_of_tiers({"walk": {"walk"}, "rest": set()}), classes_of_tiers({"words": {"the"}, "rest": set()})
    (['walk', 'rest'], [])
    """
    is_named = all(labels <= {name} for name, labels in tiers.items()) and any(tiers.values())
    return [name for name in tiers if name] if is_named else []
