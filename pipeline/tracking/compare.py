"""The work of `framescribe compare`: the runs of a hyper-parameter search or cross-validation as tables.

A mean is over runs, each of which counts alike; the deviation is that of a sample (its squares divided by n - 1). Runs
without a score, as they are not evaluated yet, are in neither. Of runs of the same settings, which exist where a search
was started again, the last one counts. Scores are in percent. The best on the validation split comes first: the test
split is not there to choose by.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from statistics import fmean, stdev
from typing import NamedTuple

from pipeline.scores import CAPTION_SCORES, LABEL_SCORES
from pipeline.text.wording import counted, format_table
from pipeline.tracking import searches
from pipeline.tracking.searches import SearchRun

SCORES = {  # the most informative score comes first
    score.short_title: score.key
    for scores in (LABEL_SCORES, CAPTION_SCORES)
    for score in reversed(scores)
    if score.in_comparison
}
COLUMNS = {f"{split} {title}": f"{split}/{name}" for split in ("val", "test") for title, name in SCORES.items()}
REPEATS = ("dataset.fold", "seed")  # settings that are there to be averaged over, not to choose from
FOLLOWS = "encoder_fingerprint"  # it follows from the settings, among which training logs it
MISSING = "-"


def compare(search: str) -> str:
    """Compare the runs of a search, and log the result in the search's own run in MLflow.

    The text becomes an artifact there, and means and deviations become metrics, <model>/<split>/<score>_mean and
    _deviation.

    Args:
        search: The name of the search.

    Returns:
        The tables as text.

    Raises:
        InputError: MLflow has no such search.
    """
    tables, statistics = [], {}
    for model, runs in _last_of_each(searches.read_search(search)).items():
        columns = [title for title, score in COLUMNS.items() if any(score in run.scores for run in runs)]
        tables.append(format_runs(model, runs, columns))
        for score in map(COLUMNS.__getitem__, columns):
            found = [run.scores[score] for run in runs if score in run.scores]
            statistics[f"{model}/{score}_mean"] = fmean(found)
            if len(found) > 1:
                statistics[f"{model}/{score}_deviation"] = stdev(found)
    text = "\n\n".join(tables)
    searches.log_comparison(search, statistics, f"{text}\n")
    return text


def _last_of_each(runs: Iterable[SearchRun]) -> dict[str, list[SearchRun]]:
    """Select, for each model and its settings, the last run that has scores; the last one where none has."""
    last: dict[str, dict[tuple[tuple[str, str], ...], SearchRun]] = defaultdict(dict)
    for run in sorted(runs, key=lambda run: bool(run.scores)):
        last[run.model][tuple(sorted(_settings(run).items()))] = run
    return {model: list(of_model.values()) for model, of_model in sorted(last.items())}


def _settings(run: SearchRun) -> dict[str, str]:
    return {name: value for name, value in run.params.items() if name != FOLLOWS}


def choices(runs: Sequence[SearchRun]) -> list[str]:
    """Find the settings that are chosen from: those that differ between runs of one fold and one seed.

    What differs from fold to fold alone was not chosen: training computes lengths in frames from the segments of its
    fold.

    Args:
        runs: The runs of one model.

    Returns:
        The names of the settings, sorted.
    """
    together: dict[tuple[str | None, ...], list[dict[str, str]]] = defaultdict(list)
    for run in runs:
        together[tuple(run.params.get(name) for name in REPEATS)].append(_settings(run))
    names = sorted({name for run in runs for name in _settings(run)} - set(REPEATS))
    return [name for name in names if any(len({s.get(name) for s in settings}) > 1 for settings in together.values())]


def format_runs(model: str, runs: Sequence[SearchRun], columns: Sequence[str]) -> str:
    """Format the runs of one model: a row for each run, then mean and deviation.

    Where choices were run repeatedly, a second table has a row for each choice.

    Args:
        model: The name of the model.
        runs: Its runs.
        columns: Some of COLUMNS.
    """
    num_scored = sum(bool(run.scores) for run in runs)
    title = f"{model}: {counted(len(runs), 'run')}"
    if num_scored < len(runs):
        title += f", {num_scored} of them evaluated"
    if not columns:
        return title
    chosen = choices(runs)
    settings = [*chosen, *(name for name in REPEATS if len({run.params.get(name) for run in runs}) > 1)]
    of_run = [Row((*_values(run, settings), run.name), [run]) for run in runs]
    cells = [[*settings, "run", *columns], *_fill(_best_first(of_run, columns), columns, _mean)]
    for name, summary in (("mean", _mean), ("deviation", _deviation)):
        cells += _fill([Row((name, *[""] * len(settings)), runs)], columns, summary)
    tables = [format_table(cells, gap="  ")]
    of_choice: dict[tuple[str, ...], list[SearchRun]] = defaultdict(list)
    for run in runs:
        of_choice[_values(run, chosen)].append(run)
    if 1 < len(of_choice) < len(runs):
        rows = [Row((*values, str(len(of_one))), of_one) for values, of_one in of_choice.items()]
        cells = [[*chosen, "runs", *columns], *_fill(_best_first(rows, columns), columns, _mean_and_deviation)]
        tables.append(format_table(cells, gap="  "))
    return f"{title}\n" + "\n\n".join(tables)


class Row(NamedTuple):
    """A row of a table.

    Attributes:
        heads: The cells that the row begins with.
        runs: The runs whose scores it shows.
    """

    heads: tuple[str, ...]
    runs: Sequence[SearchRun]


def _values(run: SearchRun, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(run.params.get(name, MISSING) for name in names)


def _scores(runs: Iterable[SearchRun], column: str) -> list[float]:
    return [run.scores[COLUMNS[column]] for run in runs if COLUMNS[column] in run.scores]


def _best_first(rows: Iterable[Row], columns: Sequence[str]) -> list[Row]:
    """Sort by the mean of the first score of the validation split; else, and among equals, by the heads of the rows."""

    def rank(row: Row) -> tuple[float, tuple[str, ...]]:
        scores = _scores(row.runs, columns[0]) if columns[0].startswith("val ") else []
        return -fmean(scores) if scores else 0.0, row.heads

    return sorted(rows, key=rank)


def _fill(rows: Iterable[Row], columns: Sequence[str], summary: Callable[[list[float]], str | None]) -> list[list[str]]:
    return [[*row.heads, *(summary(_scores(row.runs, column)) or MISSING for column in columns)] for row in rows]


def _mean(scores: list[float]) -> str | None:
    return f"{fmean(scores):.1f}" if scores else None


def _deviation(scores: list[float]) -> str | None:
    return f"{stdev(scores):.1f}" if len(scores) > 1 else None


def _mean_and_deviation(scores: list[float]) -> str | None:
    deviation = _deviation(scores)
    return f"{_mean(scores)} ± {deviation}" if deviation else _mean(scores)
