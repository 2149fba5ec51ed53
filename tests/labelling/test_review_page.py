"""The list as a table, compared to the byte, and as a page that loads only its pictures."""

import math
from dataclasses import replace
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np

from pipeline.annotations.label_space import IGNORE_INDEX, LabelSpace
from pipeline.labelling.doubts import Doubt
from pipeline.labelling.review_page import ReviewItem, write_page, write_table
from pipeline.labelling.stretches import Stretch

SPACE = LabelSpace(("rest", "<b>eat</b>", 'say, "hi"'))
DISAGREES = ReviewItem(
    stem="a#1 & b",
    stretch=Stretch(10, 14, 0.75),
    start_seconds=0.4,
    stop_seconds=0.56,
    doubt=Doubt(1, 2),
    num_doubted=3,
    probabilities=np.array([0.095, 0.9, 0.005]),
    labels=np.array([1, 1, 1, 0]),
    given_labels=np.array([2, 2, 2, IGNORE_INDEX]),
    video="../my videos/a#1 & b.mp4",
    picture="strips/a#1 & b_10-14.jpg",
)
UNCERTAIN = ReviewItem(
    stem="clip",
    stretch=Stretch(0, 3, 0.5),
    start_seconds=math.nan,
    stop_seconds=math.nan,
    doubt=Doubt(0, None),
    num_doubted=3,
    probabilities=np.array([0.5, 0.5, 0.0]),
    labels=np.zeros(3, int),
    given_labels=np.full(3, IGNORE_INDEX),
)


class Page(HTMLParser):
    """The files that a browser would load, the links, and the text that it would show."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.shown: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, text):
        if self.tags[-1:] != ["style"]:
            self.shown.append(text)


def page_of(*listed: ReviewItem, folder) -> Page:
    write_page(folder / "review.html", listed, SPACE, summary="2 stretches <all>")
    return Page((folder / "review.html").read_text(encoding="utf-8"))


def test_the_table_is_written_to_the_byte(tmp_path):
    write_table(tmp_path / "review.csv", [DISAGREES, UNCERTAIN], SPACE)
    assert (tmp_path / "review.csv").read_text() == (
        "rank,stem,start,stop,start_seconds,stop_seconds,predicted,given,why,score,picture\n"
        '1,a#1 & b,10,14,0.400000,0.560000,<b>eat</b>,"say, ""hi""",disagrees,0.7500,strips/a#1 & b_10-14.jpg\n'
        "2,clip,0,3,,,rest,,uncertain,0.5000,\n"
    )


def test_the_page_shows_names_unchanged_and_loads_only_pictures_beside_it(tmp_path):
    page = page_of(DISAGREES, UNCERTAIN, folder=tmp_path)
    assert {"script", "link", "iframe"}.isdisjoint(page.tags)
    assert page.tags.count("article") == 2
    assert page.tags.count("img") == 1
    assert [unquote(link) for link in page.links] == [f"{DISAGREES.video}#t=0.40,0.56", DISAGREES.picture]
    assert "#" not in page.links[1]  # a browser would read it as the end of the address
    text = "".join(page.shown)
    for shown in ("2 stretches <all>", "a#1 & b", "0:00.4 \N{EN DASH} 0:00.6", "frames 10 to 13", "<b>eat</b>", "90%"):
        assert shown in text
    assert 'say, "hi" (given)<1%' in text
    assert "not labelled" in text  # the frame without a given label
    assert 'Labelled as say, "hi", but the model says <b>eat</b> in 3 of these frames.' in text
    assert "The model says rest, and expects to be wrong in 50% of these frames." in text


def test_a_page_of_features_or_without_stretches_links_to_no_video(tmp_path):
    for listed in ([UNCERTAIN], []):
        page = page_of(*listed, folder=tmp_path)
        assert not page.links
        assert "plays" not in "".join(page.shown)


def test_a_name_that_is_not_valid_text_is_also_written(tmp_path):
    odd = replace(DISAGREES, picture=b"caf\xe9.jpg".decode("utf-8", errors="surrogateescape"))
    write_table(tmp_path / "review.csv", [odd], SPACE)
    assert page_of(odd, folder=tmp_path).links[1] == "caf%E9.jpg"


def test_a_video_with_a_negative_start_time_is_played_from_0(tmp_path):
    page = page_of(replace(DISAGREES, start_seconds=-0.5), folder=tmp_path)
    assert page.links[0].endswith("#t=0.00,0.56")
