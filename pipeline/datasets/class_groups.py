"""Groups of classes that exclude each other: shown, so that a misspelt group is seen, and compared with each other."""

import re
from collections import Counter
from itertools import combinations

from pipeline.annotations.classes import ClassList
from pipeline.annotations.label_space import LabelSpace
from pipeline.annotations.problems import Problem
from pipeline.text.wording import listed

MAX_NAMES = 20  # in one line
MIN_LENGTH = 4  # of a name, before it can be a misspelt one: shorter ones are alike by chance


def format_groups(label_space: LabelSpace) -> str:
    """Return lines of text that say which classes exclude each other and which are independent.

    Args:
        label_space: The classes.

    Returns:
        A line for each group of several classes, and one for all classes without a group in common with another one;
        "" for exclusive classes, which are one group.

    >>> print(format_groups(LabelSpace(("eats", "sleeps", "rears"), groups=("state", "state", "posture"))))
    one at most in a frame, group 'state': eats, sleeps
    independent of all others: rears
    """
    if label_space.groups is None:
        return ""
    names, lines, alone = label_space.classes, [], []
    for members in label_space.group_members:
        if len(members) > 1:
            shown = listed([names[index] for index in members], MAX_NAMES)
            lines.append(f"one at most in a frame, group {label_space.groups[members[0]]!r}: {shown}")
        else:
            alone.append(names[members[0]])
    if alone:
        lines.append(f"independent of all others: {listed(alone, MAX_NAMES)}")
    return "\n".join(lines)


def find_similar_groups(class_list: ClassList) -> list[Problem]:
    """Find groups that are probably one, whose name is spelt in two ways.

    Names that differ in case, spaces or punctuation alone are spelt in two ways, and so are names that one slip of a
    finger makes equal, where one of the groups has a single class. Names that are counted, as `mouse 1` and `mouse 2`
    or `mouse_a` and `mouse_b`, are not, nor are groups that each have the name of their only class.

    Args:
        class_list: The classes with their groups.

    Returns:
        A warning for each pair, with the line of the first class of the second group.
    """
    groups = class_list.groups or ()
    sizes = Counter(groups)
    lines = dict(zip(reversed(groups), reversed(class_list.lines), strict=False))
    own = {name for name, group in zip(class_list.names, groups, strict=False) if name == group and sizes[group] == 1}
    found = []
    for first, second in combinations(dict.fromkeys(groups), 2):
        is_slip = min(sizes[first], sizes[second]) == 1 and not {first, second} <= own and _is_slip(first, second)
        if _letters(first) == _letters(second) or is_slip:
            message = f"group {second!r} is spelt almost like {first!r}: are they one group? Classes of two may overlap"
            found.append(Problem(class_list.path, lines[second], message))
    return found


def _letters(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _is_slip(first: str, second: str) -> bool:
    """Return whether one letter that is changed, added or left out, or two that are swapped, make names equal."""
    short, long = sorted((first.casefold(), second.casefold()), key=len)
    if len(short) < MIN_LENGTH or _is_counted(short, long):
        return False
    at = next((i for i, pair in enumerate(zip(short, long, strict=False)) if pair[0] != pair[1]), len(short))
    is_changed = len(short) == len(long) and short[at + 1 :] == long[at + 1 :]
    is_swapped = short[at : at + 2] == long[at : at + 2][::-1] and short[at + 2 :] == long[at + 2 :]
    return is_changed or is_swapped or short[at:] == long[at + 1 :]


def _is_counted(first: str, second: str) -> bool:
    """Return whether two names differ in a number, in a letter that is a word, or in their last letter."""
    words = re.compile(r"\d+|[^\W\d_]+")
    pairs = [*zip(words.findall(first), words.findall(second), strict=False)]
    other = [pair for pair in pairs if pair[0] != pair[1]]
    is_number = all(all(word.isdigit() or len(word) == 1 for word in pair) for pair in other)
    return is_number or (len(first) == len(second) and first[:-1] == second[:-1])
