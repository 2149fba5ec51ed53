"""Training in several processes is training in one: the losses of each step, what is written, and what is refused.

The processes are real ones, started by torchrun, that exchange by gloo on the CPU.
"""

import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_data import write_caption_dataset, write_feature_dataset, write_params
from made_models import save_feature_model
from made_ranks import LOSSES, start
from made_training import open_training_data, read_history

from pipeline.annotations.label_space import ABSENT, IGNORE_INDEX, PRESENT, LabelSpace
from pipeline.config.params import load_params
from pipeline.datasets.scenes.write import make_scenes
from pipeline.errors import InputError
from pipeline.stages import (
    encode_images,
    extract_features,
    finetune_encoder,
    finetune_image_encoder,
    prepare,
    prepare_captions,
)
from pipeline.stages.finetune_image_encoder import CLASSIFIER
from pipeline.stages.paths import CAPTIONER, LABELLER
from pipeline.training import ranks
from pipeline.training.distillation import distillation_loss
from pipeline.training.labeller import train
from pipeline.training.labeller_data import training_batches
from pipeline.training.objective import balanced_weights, make_objective

EXCLUSIVE = LabelSpace(("idle", "left", "right"))
GROUPED = LabelSpace(("a", "b", "c"), groups=("x", "x", "y"))
NO_DRAWS = {"labeller__dropout": 0.0}
# Settings by what they try. Frames 16 to 31 of the videos have no label: some steps are read for the state alone.
SETTINGS: dict[str, dict[str, object]] = {
    "consecutive": {
        "training__windows": "consecutive",
        "training__window_frames": 7,
        "training__class_weights": "balanced",
        "labeller__cell": "lstm",
        "labeller__inputs": "both",
    },
    "random": {
        "labeller__bidirectional": True,
        "training__label_smoothing": 0.1,
        "training__class_weights": "square_root",
        "training__window_frames": 11,
        "training__epochs": 8,
        "training__patience": 2,
    },
    "taught": {"distillation": {"teacher": "../teacher", "weight": 0.5}, "labeller__look_ahead": 2},
    "overlapping": {"dataset__independent_classes": True, "dataset__background": None, "training__focal_gamma": 2.0},
    "whole_videos": {"training__window_frames": None, "training__batch_size": 7},
    "end_to_end": {
        "dataset__root": "../scenes",
        "dataset__background": None,
        "dataset__pixels": {"size": [32, 32]},
        "encoder__name": "shufflenet_v2_x0_5",
        "encoder__training": "end_to_end",
        "encoder__batch_size": 16,
        "encoder__learning_rate": 0.001,
        "training__epochs": 2,
        "training__window_frames": 8,
    },
    "captions": {
        "captioner__dropout": 0.0,
        "captioner__output_dropout": 0.0,
        "captioner__training__label_smoothing": 0.1,
        "captioner__training__weight_averaging": 0.9,
        "captioner__training__batch_size": 7,
    },
    "words": {
        "captions__mirror": True,
        "captions__encoder": {"name": "shufflenet_v2_x0_5", "training": "word_classifier"},
        "captions__encoder__classifier": {"epochs": 3, "batch_size": 3, "learning_rate": 0.003, "dropout": 0.0},
    },
}
STAGES = {"captions": "train_captioner", "words": "finetune_image_encoder"}
STAGES_BEFORE = {
    "captions": (prepare_captions, finetune_image_encoder, encode_images),
    "words": (prepare_captions,),
}
OUTS = {"captions": CAPTIONER, "words": CLASSIFIER}


def stage_of(case: str) -> str:
    return STAGES.get(case, "train_labeller")


def out_of(case: str) -> Path:
    return OUTS.get(case, LABELLER)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """A folder for each of SETTINGS, which was trained in one process."""
    root = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        prepare_all(root, empty_store, patch.chdir)
        done = start({root / case: stage_of(case) for case in SETTINGS}, num_ranks=1)
    assert done.returncode == 0, done.stderr
    return root


def prepare_all(root: Path, empty_store: Path, enter: Callable[[Path], None]) -> None:
    write_feature_dataset(root / "dataset", num_videos=10)
    for path in (root / "dataset" / "labels").iterdir():
        rows = path.read_text().splitlines()
        path.write_text("\n".join(row for row in rows if row.split(",")[0] not in ("16", "24")) + "\n")
    write_caption_dataset(root / "pictures")
    make_scenes(root / "scenes", num_videos=4, num_images=0, seed=1, num_frames=(20, 30), noise=2.0)
    (root / "scenes" / "groups.csv").unlink()  # four videos in four groups
    save_feature_model(root / "teacher")
    for case, changes in SETTINGS.items():
        (root / case).mkdir()
        enter(root / case)
        shutil.copy(empty_store, "mlflow.db")
        write_params(Path(), **{"dataset__root": "../dataset", "captions__root": "../pictures"} | NO_DRAWS | changes)
        for stage in STAGES_BEFORE.get(case, (prepare, finetune_encoder, extract_features)):
            stage.main()


@pytest.fixture(scope="module")
def together(alone: Path) -> Path:
    """The same, trained in two processes."""
    root = alone.parent / "together"
    shutil.copytree(alone, root)
    for case in SETTINGS:
        forget_training(root / case)
    done = start({root / case: stage_of(case) for case in SETTINGS}, num_ranks=2)
    assert done.returncode == 0, done.stderr
    return root


def forget_training(folder: Path) -> None:
    for out in (LABELLER, CAPTIONER, CLASSIFIER):
        shutil.rmtree(folder / out, ignore_errors=True)
    (folder / LOSSES).unlink(missing_ok=True)


def losses_in(folder: Path) -> list[float | None]:
    return json.loads((folder / LOSSES).read_text())


def statuses_of_runs(folder: Path) -> list[str]:
    with closing(sqlite3.connect(folder / "mlflow.db")) as store:
        return [status for (status,) in store.execute("SELECT status FROM runs ORDER BY start_time")]


def check_same_history(folder: Path, alone: Path) -> None:
    history, expected = read_history(folder), read_history(alone)
    assert len(history) == len(expected)
    for row, expected_row in zip(history, expected, strict=True):
        assert row.keys() == expected_row.keys()
        for name, value in expected_row.items():
            assert float(row[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-5), name


@pytest.mark.slow
@pytest.mark.parametrize("case", SETTINGS)
def test_two_processes_have_the_losses_of_one_at_each_step(alone, together, case):
    found, expected = losses_in(together / case), losses_in(alone / case)
    assert len(found) == len(expected) > 3
    assert [loss is None for loss in found] == [loss is None for loss in expected]
    assert any(loss is None for loss in expected) == (case == "consecutive")
    pairs = [(a, b) for a, b in zip(found, expected, strict=True) if a is not None and b is not None]
    assert max(abs(a - b) for a, b in pairs) <= 1e-5
    assert len({b for _, b in pairs}) > 3, "the losses change"
    check_same_history(together / case / out_of(case), alone / case / out_of(case))
    assert (together / case / out_of(case) / "weights.safetensors").exists()


@pytest.mark.slow
def test_a_training_goes_on_with_another_number_of_processes_and_the_death_of_one_ends_all(alone, tmp_path):
    """Two processes, of which one dies; one, which dies; and three to the end."""
    folder, expected = tmp_path / "consecutive", losses_in(alone / "consecutive")
    for name in ("dataset", "consecutive"):
        shutil.copytree(alone / name, tmp_path / name)
    forget_training(folder)
    per_epoch = len(expected) // 4
    for num_ranks in (2, 1):
        died = start({folder: "train_labeller"}, num_ranks=num_ranks, last_step=per_epoch + 4)
        assert died.returncode != 0
        assert not (folder / LOSSES).exists()
        assert len(read_history(folder / LABELLER)) == (1 if num_ranks == 2 else 2)
    done = start({folder: "train_labeller"}, num_ranks=3)
    assert done.returncode == 0, done.stderr
    found = losses_in(folder)
    rest = expected[-len(found) :]
    assert len(found) < 3 * per_epoch, "it does not begin again"
    assert [loss is None for loss in found] == [loss is None for loss in rest]
    pairs = [(a, b) for a, b in zip(found, rest, strict=True) if a is not None and b is not None]
    assert max(abs(a - b) for a, b in pairs) <= 1e-5
    check_same_history(folder / LABELLER, alone / "consecutive" / LABELLER)
    again = start({folder: "train_labeller"}, num_ranks=2)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("already trained") == 1
    assert statuses_of_runs(folder) == [*statuses_of_runs(alone / "consecutive"), "FINISHED"], "one run for all of them"


def several(monkeypatch: pytest.MonkeyPatch, **environment: int) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))


def test_more_processes_than_windows_in_a_batch_are_refused(workspace, monkeypatch):
    write_feature_dataset(workspace / "dataset")
    write_params(workspace, training__batch_size=3)
    data = open_training_data()
    several(monkeypatch, WORLD_SIZE=4, RANK=0)
    with pytest.raises(InputError, match=r"runs in 4 processes, and batch_size 3 .* start at most 3"):
        train(load_params(), data, Path("model"), name="labeller")


def test_more_processes_than_devices_are_refused(monkeypatch):
    several(monkeypatch, WORLD_SIZE=4, RANK=0, LOCAL_WORLD_SIZE=4, LOCAL_RANK=0)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    refused = r"4 processes on this machine, where torch sees 2 CUDA devices: start 2"
    with pytest.raises(InputError, match=refused), ranks.joined("auto", batch_size=8):
        pytest.fail("joined")


def test_statistics_of_a_part_of_the_batch_are_refused(workspace, monkeypatch):
    write_feature_dataset(workspace / "dataset")
    write_params(workspace, encoder__batch_norm="trained")
    data = open_training_data()
    monkeypatch.setattr(ranks, "num_ranks", lambda: 2)
    object.__setattr__(data, "from_pixels", True)
    with pytest.raises(InputError, match=r"encoder.batch_norm trained .* frozen or group_norm"):
        train(load_params(), data, Path("model"), name="labeller")


def test_one_process_of_torchrun_is_a_training_alone(monkeypatch):
    several(monkeypatch, WORLD_SIZE=1, RANK=0)
    with ranks.joined("cpu", batch_size=1):
        assert ranks.is_first()
        assert ranks.num_ranks() == 1


@given(seed=st.integers(0, 10_000), cut=st.integers(0, 6), space=st.sampled_from([EXCLUSIVE, GROUPED]))
def test_the_parts_of_a_loss_add_up_to_the_loss_of_the_whole_batch(seed, cut, space):
    """Each part is divided by the weight of all frames, whatever it has: the mean of means would be another number."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 5, 3, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (6, 5), generator=generator)
    labels[torch.rand(6, 5, generator=generator) < 0.4] = IGNORE_INDEX
    if not space.is_exclusive:
        chosen = labels[..., None] == torch.arange(3)
        labels = torch.where(chosen, PRESENT, ABSENT).where(labels[..., None] != IGNORE_INDEX, IGNORE_INDEX)
        labels = labels.to(torch.int8)
    soft = torch.rand(6, 5, 3, generator=generator).div(3)
    soft[torch.rand(6, 5, generator=generator) < 0.3] = torch.nan
    weights = balanced_weights(labels, space)
    groups = None if space.is_exclusive else space.group_members

    def losses(rows: slice, **options) -> tuple[torch.Tensor, torch.Tensor]:
        objective = make_objective(space, weights=weights, label_smoothing=0.1, focal_gamma=1.0, **options)
        of_teacher = distillation_loss(logits[rows], soft[rows], groups=groups, temperature=2.0, **options)
        return objective(logits[rows], labels[rows]), of_teacher

    seen: list[torch.Tensor] = []
    whole = losses(slice(0, 6), whole_weight=lambda weight: seen.append(weight) or weight)
    parts = []
    for rows in (slice(0, cut), slice(cut, 6)):
        of_whole = iter(seen)
        parts.append(losses(rows, whole_weight=lambda _, of_whole=of_whole: next(of_whole)))
    for loss, *of_parts in zip(whole, *parts, strict=True):
        torch.testing.assert_close(sum(of_parts), loss)


@pytest.mark.parametrize("windows", ["random", "consecutive"])
def test_the_parts_of_the_batches_hold_each_window_once(workspace, monkeypatch, windows):
    write_feature_dataset(workspace / "dataset", num_videos=9)
    write_params(workspace, training__windows=windows, training__batch_size=3, training__window_frames=11)
    data, params = open_training_data(), load_params()

    def labelled(batch) -> list[list[float]]:
        """The features of each window that has labels."""
        return [x.flatten().tolist() for x, y in zip(batch.inputs, batch.labels, strict=True) if (y >= 0).any()]

    whole = [labelled(batch) for batch in training_batches(params, data, 0)]
    parts = []
    for rank in range(3):
        monkeypatch.setattr(ranks, "num_ranks", lambda: 3)
        monkeypatch.setattr(ranks, "rank", lambda rank=rank: rank)
        parts.append([labelled(batch) for batch in training_batches(params, data, 0)])
    assert any(not part for of_rank in parts for part in of_rank), "some rank has nothing in some step"
    for step, *of_ranks in zip(whole, *parts, strict=True):
        found = [features for part in of_ranks for features in part]
        trimmed = [np.trim_zeros(np.array(features), "b").tolist() for features in (*step, *found)]
        assert sorted(trimmed[: len(step)]) == sorted(trimmed[len(step) :])
