"""The links of the documentation have existing targets, and its lines are short."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
from import_graph import ROOT

LONGEST_LINE = 100
NARROW_FOLDERS = ("users", "developers", "explained")
PAGES = sorted(
    {*(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")), *(ROOT / "docs").rglob("*.md")}
)
NARROW = [page for page in PAGES if page.name in ("README.md", "CONTRIBUTING.md") or page.parent.name in NARROW_FOLDERS]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """The lines outside code blocks, with their numbers from 1."""
    is_code = False
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code:
            yield number, line


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    found: Counter[str] = Counter()
    names = set()
    for _, line in prose(page):
        if heading := re.fullmatch(r"#{1,6} +(.+?) *#*", line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            text = text.replace("&lt;", "").replace("&gt;", "")
            slug = re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-")
            names.add(f"{slug}-{found[slug]}" if found[slug] else slug)
            found[slug] += 1
    return names


def broken_links(page: Path) -> list[str]:
    problems = []
    for number, line in prose(page):
        shown = re.sub(r"`[^`]*`", "", line)
        for target in re.findall(r"\]\(<?([^)>\s]+)>?(?: \"[^\"]*\")?\)", shown):
            if re.match(r"[a-z][a-z0-9+.-]*:", target):
                continue
            path, _, anchor = target.partition("#")
            place = (page.parent / unquote(path)).resolve() if path else page
            if not place.exists():
                problems.append(f"{name_of(page)}:{number}: there is no {target}")
            elif anchor and place.suffix == ".md" and anchor not in anchors(place):
                problems.append(f"{name_of(page)}:{number}: {name_of(place)} has no heading #{anchor}")
    return problems


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_have_existing_targets(page):
    assert page.exists()
    assert broken_links(page) == []


@pytest.mark.parametrize("page", NARROW, ids=name_of)
def test_lines_are_short(page):
    long = [
        f"{name_of(page)}:{number}: {len(line)} characters"
        for number, line in prose(page)
        if len(line) > LONGEST_LINE and not line.lstrip().startswith("|") and not re.search(r"\]\(|://", line)
    ]
    assert long == []


def test_broken_links_are_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("# One: a `b`\n\n[a](#one-a-b) [b](#two) [c](none.md)\n\n```\n[d](none.md)\n```\n")
    assert broken_links(page) == ["page.md:3: page.md has no heading #two", "page.md:3: there is no none.md"]
