"""The scores of this project, each said once: its name, its titles, which way is better, and where it is shown.

A new score needs its function in `pipeline.metrics`, a place in `metrics.report` or `metrics.captions` that computes
it, and a line here. Settings, training, tuning, the tables on the terminal and the comparison of runs ask it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, NamedTuple

Average = Literal["pooled", "per_video"]
Kind = Literal["exclusive", "overlapping", "captions"]  # of what is scored: see `annotations.label_space`, and captions

LABELS: tuple[Kind, ...] = ("exclusive", "overlapping")
OVERLAPPING: tuple[Kind, ...] = ("overlapping",)
CAPTIONS: tuple[Kind, ...] = ("captions",)

IOU_PERCENTS = (10, 25, 50)  # of F1@IoU


class Score(NamedTuple):
    """A number that says how good labels or captions are.

    Attributes:
        name: How it is called in files, in MLflow and in settings.
        title: How it is called in reports.
        short_title: How it is called in narrow tables.
        higher_is_better: False for a loss.
        of: What is counted: "frames" or "segments" of videos, or "captions" of images.
        headline: Of scores of videos: which average is shown where there is room for one. "pooled" counts all videos as
            one, "per_video" is the mean of the videos' scores. None for captions.
        kinds: The kinds of labels that have it; or captions.
        monitored_of: Those of `kinds` of which training computes it on the validation split after each epoch, so that
            it can choose the best epoch.
        in_progress_bar: Whether the progress bar of training shows it.
        in_summary: Whether the table at the end of `make run` has a row for it.
        in_comparison: Whether `framescribe compare` has a column for it.
    """

    name: str
    title: str
    short_title: str
    of: Literal["frames", "segments", "captions"]
    headline: Average | None = None
    kinds: tuple[Kind, ...] = LABELS
    higher_is_better: bool = True
    monitored_of: tuple[Kind, ...] = ()
    in_progress_bar: bool = False
    in_summary: bool = False
    in_comparison: bool = False

    @property
    def key(self) -> str:
        """Its name in results/*.json and in MLflow, with the average that is its headline."""
        return self.name if self.headline is None else f"{self.name}_{self.headline}"


LABEL_SCORES = (
    Score(
        "frame_accuracy",
        "frame accuracy",
        "accuracy",
        of="frames",
        headline="pooled",
        monitored_of=LABELS,
        in_progress_bar=True,
        in_summary=True,
        in_comparison=True,
    ),
    Score("frame_macro_f1", "frame macro F1", "macro F1", of="frames", headline="pooled", monitored_of=OVERLAPPING),
    *(
        Score(f"frame_{name}", title, title, of="frames", headline="pooled", kinds=OVERLAPPING)
        for name, title in (
            ("macro_precision", "macro precision"),
            ("macro_recall", "macro recall"),
            ("micro_f1", "frame micro F1"),
            ("micro_precision", "micro precision"),
            ("micro_recall", "micro recall"),
        )
    ),
    Score(
        "mean_average_precision",
        "mean AP",
        "mAP",
        of="frames",
        headline="pooled",
        kinds=OVERLAPPING,
        monitored_of=OVERLAPPING,
        in_progress_bar=True,
        in_summary=True,
        in_comparison=True,
    ),
    Score(
        "edit",
        "edit score",
        "edit",
        of="segments",
        headline="per_video",
        monitored_of=LABELS,
        in_summary=True,
        in_comparison=True,
    ),
    *(
        Score(
            f"f1_at_{percent}",
            f"segment F1@{percent}",
            f"F1@{percent}",
            of="segments",
            headline="per_video",
            monitored_of=LABELS if percent == 50 else (),
            in_summary=True,
            in_comparison=percent == 50,
        )
        for percent in IOU_PERCENTS
    ),
)
CAPTION_SCORES = tuple(
    score._replace(kinds=CAPTIONS)
    for score in (
        Score("right", "all of it right", "right", of="captions", in_summary=True),
        *(Score(f"bleu_{words}", f"BLEU-{words}", f"BLEU-{words}", of="captions") for words in (1, 2, 3)),
        Score("bleu_4", "BLEU-4", "BLEU-4", of="captions", monitored_of=CAPTIONS, in_summary=True, in_comparison=True),
        Score("rouge_l", "ROUGE-L", "ROUGE-L", of="captions"),
        Score("meteor", "METEOR", "METEOR", of="captions", in_summary=True, in_comparison=True),
        Score(
            "cider",
            "CIDEr",
            "CIDEr",
            of="captions",
            monitored_of=CAPTIONS,
            in_progress_bar=True,
            in_summary=True,
            in_comparison=True,
        ),
    )
)
LOSS = "loss"  # what training minimizes; the lower the better


def monitored(scores: Iterable[Score], kind: Kind | None = None) -> tuple[Score, ...]:
    """Those of `scores` that training computes on the validation split after each epoch.

    Args:
        scores: The scores.
        kind: The kind of labels, or captions, that are trained on; None for any.
    """
    return tuple(score for score in scores if (kind in score.monitored_of if kind else score.monitored_of))


def kind_of_labels(is_exclusive: bool) -> Kind:
    """Return the kind of the labels of a label space: exclusive, or overlapping."""
    return "exclusive" if is_exclusive else "overlapping"


def higher_is_better(name: str) -> bool:
    """Whether a larger value of the score, or of the loss, is the better one.

    Raises:
        KeyError: There is no such score.
    """
    return {LOSS: False, **{score.name: score.higher_is_better for score in (*LABEL_SCORES, *CAPTION_SCORES)}}[name]


if TYPE_CHECKING:
    LabelMonitor = str
    CaptionMonitor = str
else:  # what a setting `monitor` may be: pydantic checks it, and names the choices
    LabelMonitor = Literal[(LOSS, *(score.name for score in monitored(LABEL_SCORES)))]
    CaptionMonitor = Literal[(LOSS, *(score.name for score in reversed(monitored(CAPTION_SCORES))))]
