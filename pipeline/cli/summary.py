"""The end of `make run`: the scores as a table, the places of the results, and how to open them."""

import json
import sys

from pipeline.scores import CAPTION_SCORES, LABEL_SCORES, LABELS
from pipeline.stages.paths import CAPTION_RESULTS, CAPTIONER, LABELLER, OUTPUTS, RESULTS
from pipeline.text.wording import counted, format_table

ROWS = {score.title: score.key for score in LABEL_SCORES if score.in_summary}
OF_ALL_LABELS = {score.key for score in LABEL_SCORES if score.kinds == LABELS}
CAPTION_ROWS = {score.title: score.key for score in CAPTION_SCORES if score.in_summary}
BY_ITSELF = "_without_rnn"
TITLE, COLUMN = 18, 12  # characters


def main() -> None:
    """Print the tables of the scores, and where all results are."""
    labels, captions = RESULTS / "metrics.json", RESULTS / "caption_metrics.json"
    if not labels.exists():
        sys.exit(f"{labels} is missing: `dvc repro` writes it")
    metrics = json.loads(labels.read_text())
    parts = [format_scores(metrics), *format_never_predicted(metrics)]
    if captions.exists():  # an experiment with only the labeller has none
        parts.append(format_caption_scores(json.loads(captions.read_text())))
    print("", *parts, _places(), sep="\n\n")


def format_scores(metrics: dict[str, dict[str, float]]) -> str:
    """Format the scores of labels.

    Args:
        metrics: The scores by split and name, as in results/metrics.json.

    Returns:
        A table with a column for each held-out split, and beside it one for the same encoder without the recurrent
        network.
    """
    splits = [split for split in metrics if not split.endswith(BY_ITSELF)]
    rows: list[list[str | None]] = [
        ["percent", *(cell for split in splits for cell in (None, f"{split} videos"))],
        ["", *["with RNN", "without"] * len(splits)],
    ]
    for title, name in ROWS.items():
        scores = [metrics[column].get(name) for split in splits for column in (split, f"{split}{BY_ITSELF}")]
        cells = ["-" if score is None else f"{score:.1f}" for score in scores]  # "-": not defined
        if name in OF_ALL_LABELS or any(score is not None for score in scores):
            rows.append([title, *cells])
    return format_table(rows, widths=[TITLE, *[COLUMN] * (2 * len(splits))], num_headers=2)


def format_never_predicted(metrics: dict[str, dict[str, float]]) -> list[str]:
    """Return one paragraph on the held-out splits with classes that are never predicted; empty where there are none."""
    counts = {split: round(scores.get("classes_never_predicted", 0)) for split, scores in metrics.items()}
    lines = [
        f"{counted(count, 'class', 'classes')} of {split} videos never predicted: "
        f"{RESULTS}/evaluation/{split}/classes.csv"
        for split, count in counts.items()
        if count and not split.endswith(BY_ITSELF)
    ]
    return ["\n".join(lines)] if lines else []


def format_caption_scores(metrics: dict[str, dict[str, float]]) -> str:
    """Format the scores of captions as a table with a column for each held-out split, without undefined scores."""
    rows = [["captions", *(f"{split} images" for split in metrics)]]
    for title, name in CAPTION_ROWS.items():
        if any(name in scores for scores in metrics.values()):
            rows.append([title, *(f"{scores[name]:.1f}" for scores in metrics.values())])
    return format_table(rows, widths=[TITLE, *[2 * COLUMN] * len(metrics)])


def _places() -> str:
    has_overlays = any(OUTPUTS.glob("*.overlay.mp4"))
    kind, option = ("VIDEO", " --overlay") if has_overlays else ("FEATURES.npy", "")
    places = {
        f"labels{' and overlays' if has_overlays else ''} of held-out videos": f"{OUTPUTS}/",
        "timelines, confusion, full report": f"{RESULTS}/evaluation/",
        "captions of held-out images": f"{CAPTION_RESULTS}/",
        "trained models": f"{LABELLER}/, {CAPTIONER}/",
        "every run, its curves and pictures": "make ui",
        "label your own": f".venv/bin/framescribe label {kind} --model {LABELLER} --out labels{option}",
        "describe your own": f".venv/bin/framescribe caption IMAGE --model {CAPTIONER} --out captions.csv",
    }
    return "\n".join(f"{what:40}{where}" for what, where in places.items())


if __name__ == "__main__":
    main()
