"""The end of `make run`: the scores as a table, where the results lie and how to open them."""

import json

from pipeline.stages.paths import LABELLER, OUTPUTS, RESULTS

ROWS = {
    "frame accuracy": "frame_accuracy_pooled",
    "edit score": "edit_per_video",
    "F1@10": "f1_at_10_per_video",
    "F1@25": "f1_at_25_per_video",
    "F1@50": "f1_at_50_per_video",
}
BY_ITSELF = "_without_rnn"


def main() -> None:
    """Print the table from results/metrics.json."""
    metrics = json.loads((RESULTS / "metrics.json").read_text())
    splits = [split for split in metrics if not split.endswith(BY_ITSELF)]
    print(f"\n{'':16}" + "".join(f"{split + ' videos':^26}" for split in splits))
    print(f"{'':16}" + f"{'with RNN':>12}{'without':>12}  " * len(splits))
    for title, name in ROWS.items():
        pairs = [(metrics[split][name], metrics[f"{split}{BY_ITSELF}"][name]) for split in splits]
        print(f"{title:16}" + "".join(f"{ours:12.1f}{alone:12.1f}  " for ours, alone in pairs))
    print(
        f"""
labels and overlays of held-out videos   {OUTPUTS}/
timelines, confusion, full report        {RESULTS}/evaluation/
trained model                            {LABELLER}/
every run, its curves and pictures       make ui
label your own videos                    .venv/bin/framescribe label VIDEO --model {LABELLER} --out labels --overlay"""
    )


if __name__ == "__main__":
    main()
