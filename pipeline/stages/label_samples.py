"""Stage label_samples: label held-out videos into outputs/ with the trained checkpoint, as a user would."""

import shutil
import sys
from pathlib import Path

from pipeline.config.params import load_params
from pipeline.datasets.manifest import read_manifest
from pipeline.errors import InputError
from pipeline.labelling.folder import label_videos
from pipeline.labelling.model import load_model
from pipeline.labelling.outputs import OutputOptions
from pipeline.stages import run_stage
from pipeline.stages.paths import LABELLER, OUTPUTS, PREPARED


def main() -> None:
    """Write outputs/: the labels of the first `num_samples` held-out videos, with overlays where there are pixels."""
    params = load_params()
    manifest, _ = read_manifest(PREPARED)
    sources = manifest.of_split("test") or manifest.of_split("val") or manifest.of_split("train")
    model = load_model(str(LABELLER), device=params.training.device, reader=manifest.reader)
    shutil.rmtree(OUTPUTS, ignore_errors=True)
    OUTPUTS.mkdir()
    paths = [Path(source.path) for source in sources[: params.num_samples]]
    outputs = OutputOptions(overlay=manifest.kind == "videos")
    outcome = label_videos(
        paths, model, OUTPUTS, outputs=outputs, on_failure=lambda message: print(message, file=sys.stderr)
    )
    print(f"labelled {outcome.num_labelled} held-out videos into {OUTPUTS}")
    if outcome.num_failed:
        raise InputError("a video of the data set changed since it was prepared: run `dvc repro` again")


if __name__ == "__main__":
    run_stage(main)
