"""A stage of training, in one process or in several, that writes down the loss of each of its steps."""

import importlib
import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack, nullcontext
from pathlib import Path
from unittest.mock import patch

from pipeline.stages import run_stage
from pipeline.tracking import store
from pipeline.training import captioner_learner, labeller_learner, ranks, word_classifier

LOSSES = Path("losses.json")
LAST_STEP = "LAST_STEP"  # in the environment: the step, from 0, in which the last process dies


def start(stages: dict[Path, str], *, num_ranks: int, last_step: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run a stage in each folder, one after the other, in so many processes."""
    torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_ranks}"] if num_ranks > 1 else []
    folders = [f"{folder}={stage}" for folder, stage in stages.items()]
    environment = os.environ | ({} if last_step is None else {LAST_STEP: str(last_step)})
    command = [sys.executable, *torchrun, __file__, *folders]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1200, check=False)


def train_in(folder: Path, stage: str) -> None:
    """Run a stage in a folder, where the first process writes the loss of each step; null where there was none."""
    os.chdir(folder)
    losses: list[float | None] = []
    step, forced = labeller_learner.Learner._step, captioner_learner.CaptionLearner._forced_loss
    step_of_words = word_classifier.WordLearner._step

    def die_when_due() -> None:
        if os.environ.get(LAST_STEP) == str(len(losses)) and ranks.rank() == ranks.num_ranks() - 1:
            os.kill(os.getpid(), signal.SIGKILL)

    def recorded_step(learner, batch):
        die_when_due()
        done = step(learner, batch)
        losses.append(None if done is None else done[0].item())
        return done

    def recorded_forced(learner, batch, own_words):
        die_when_due()
        part, score = forced(learner, batch, own_words)
        losses.append(ranks.summed(score).item())
        return part, score

    def recorded_words(learner, batch):
        losses.append(step_of_words(learner, batch))
        return losses[-1]

    labeller_learner.Learner._step = recorded_step
    word_classifier.WordLearner._step = recorded_words
    captioner_learner.CaptionLearner._forced_loss = recorded_forced
    try:
        run_stage(importlib.import_module(f"pipeline.stages.{stage}").main)
    finally:
        labeller_learner.Learner._step, captioner_learner.CaptionLearner._forced_loss = step, forced
        word_classifier.WordLearner._step = step_of_words
    if ranks.is_first():
        LOSSES.write_text(json.dumps(losses))


if __name__ == "__main__":
    store.log_model = lambda *args, **options: None  # takes more time than a short training
    trainings = [argument.split("=") for argument in sys.argv[1:]]
    with ExitStack() as stack:
        if len(trainings) > 1:  # processes join once: they do so here, and stay together between the trainings
            stack.enter_context(ranks.joined("cpu", batch_size=2))
            stack.enter_context(patch.multiple(ranks, joined=lambda *_, **__: nullcontext(), leave=lambda: None))
        for folder, stage in trainings:
            train_in(Path(folder), stage)
