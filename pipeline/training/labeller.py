"""The training of one model: from the prepared data set to a checkpoint folder and its MLflow run.

The labeller on cached features, the labeller end to end with its encoder, the frame classifier and the baseline without
a recurrent network are all trained here. T frames, F features, K classes, h and w pixels.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.annotations.segment_model import fit_segment_model
from pipeline.annotations.segments import median_segment_frames
from pipeline.checkpoints.labeller import CheckpointSpec, make_labeller, save_checkpoint
from pipeline.checkpoints.storage import load_weights
from pipeline.config.params import Params
from pipeline.config.section import MAX_STEP_FRAMES
from pipeline.datasets.manifest import SPLITS, Manifest
from pipeline.datasets.windows import delayed, plan_windows, read_batches
from pipeline.drawing.plots import plot_gradients
from pipeline.encoding.device import choose_device, cpu_threads
from pipeline.errors import InputError
from pipeline.models.augmentation import Augmentation
from pipeline.models.encoders.stages import rate_groups
from pipeline.models.end_to_end import EndToEnd
from pipeline.models.labeller import Labeller
from pipeline.postprocessing.decisions import plain_labels
from pipeline.tracking import store
from pipeline.tracking.models import LABELS_SIGNATURE, overlapping_signature
from pipeline.training import ranks
from pipeline.training.checkpoint_tuning import set_shortest_bouts, tune_checkpoint
from pipeline.training.diagnosis import Diagnosis
from pipeline.training.gradient_report import diagnose
from pipeline.training.labeller_data import TrainingData, batch_targets, classes_of_videos, labels_of, training_batches
from pipeline.training.labeller_learner import Learner, ParameterGroups
from pipeline.training.loop import Callbacks, Scores, fit
from pipeline.training.novelty import tune_novelty
from pipeline.training.objective import balanced_weights, make_objective, summed_cross_entropy
from pipeline.training.runs import lineage_of, log_best, log_history, open_state, open_training_run, register_trained
from pipeline.training.teacher import Teacher
from pipeline.training.tuning import MIN_SEGMENT_SHARE, Split, check_decoding, check_monitor, watched_scores

DIAGNOSED_VIDEOS, DIAGNOSED_FRAMES = 8, 64  # the maximum size of the batch on which gradients are diagnosed
DRAWN_EPOCHS = 6
POOL_SHARE = 0.2  # of the median training segment: `auto` for labeller.pool_frames


def train(params: Params, training_data: TrainingData, out: Path, *, name: str) -> None:
    """Train a labeller, tracked as a run in MLflow.

    Killed at any moment and called again, it resumes after its last epoch in the same run. `out` holds the best model
    as a checkpoint, the last one in training_state.pt, and the curves in history.csv. Processes that torchrun started
    train one model together, and the first of them writes.

    Args:
        params: The settings.
        training_data: The data set.
        out: The checkpoint folder.
        name: The kind of model, such as labeller or baseline. The name of the run begins with it.
    """
    check_monitor(params.training.monitor, training_data.manifest.label_space)
    check_decoding(params.labeller, training_data.manifest.label_space)
    with ranks.joined(params.training.device, batch_size=params.training.batch_size):
        _check_batch_norm(params, training_data)
        _train(params, training_data, out, name=name)


def _check_batch_norm(params: Params, training_data: TrainingData) -> None:
    if ranks.num_ranks() > 1 and training_data.from_pixels and params.encoder.batch_norm == "trained":
        raise InputError(
            f"encoder.batch_norm trained takes statistics of the whole batch, of which each of the {ranks.num_ranks()}"
            " processes has a part: set it to frozen or group_norm, or train in one process"
        )


def _train(params: Params, training_data: TrainingData, out: Path, *, name: str) -> None:
    shortest_is_tuned = params.labeller.min_segment_frames == "auto"
    params = _with_lengths_in_frames(params, training_data)
    device = choose_device(params.training.device)
    torch.manual_seed(params.seed)
    labeller, model = _build_model(params, training_data, device)
    folder = params.distillation.teacher
    teacher = Teacher(folder, training_data, out, device=device) if folder else None
    run_params, fingerprint = _run_params(params, training_data, teacher), training_data.manifest.fingerprint()
    state = ranks.of_first(
        partial(open_state, out, params=run_params, data_fingerprint=fingerprint, training_module=__name__)
    )
    if state.complete:
        if ranks.is_first():
            print(f"{name}: already trained with these settings, data and code; remove {out} to train it again")
            register_trained(state, name, registered=params.tracking.register_labeller, monitor=params.training.monitor)
        return
    learner = Learner(
        model,
        _parameter_groups(params, training_data, labeller),
        training_data.manifest.label_space,
        settings=params.training,
        class_weights=_class_weights(params, training_data, device),
        distillation=params.distillation,
    )
    soft_labels = teacher.soft_labels(params.distillation.temperature) if teacher else None
    callbacks = Callbacks(
        batches=partial(training_batches, params, training_data, soft_labels=soft_labels),
        validate=partial(validate, labeller, training_data) if training_data.manifest.of_split("val") else None,
    )
    # The steps of a recurrent network are too small to share between threads: on two busy cores, threads that wait for
    # each other took 50 s per epoch on `scenes`, and one alone took 3.5 s.
    threads = partial(cpu_threads, None if training_data.from_pixels else 1)
    training_data.decode_ahead()
    if not ranks.is_first():
        with threads():
            fit(learner, seed=params.seed, state=state, callbacks=callbacks, description=name)
        return
    with open_training_run(state, out, name=_run_name(name, params, training_data), search=params.search) as run_id:
        store.log_start(run_params, _datasets(training_data.manifest), model=name)
        for report in training_data.reports:
            store.log_file(report)
        callbacks = replace(
            callbacks,
            save_best=_saver(params, training_data, labeller, out, run_id=run_id),
            report=partial(store.log_epoch, run_id),
            diagnose=_diagnoser(params, training_data, labeller),
        )
        with threads():
            progress = fit(learner, seed=params.seed, state=state, callbacks=callbacks, description=name)
            _tune(params, training_data, labeller, out, shortest=shortest_is_tuned, run_id=run_id)
            tune_novelty(out, training_data, seed=params.seed, device=device, run_id=run_id)
        log_history(progress, run_id=run_id)
        if progress.diagnoses:
            _log_gradients(progress.diagnoses, run_id=run_id)
        _log_model(training_data.manifest, out, name=name, run_id=run_id)
        log_best(progress, run_id=run_id)
        state.finish()
        store.register_model(
            run_id, name, registered=params.tracking.register_labeller, monitor=params.training.monitor
        )


def _tune(
    params: Params, training_data: TrainingData, labeller: Labeller, out: Path, *, shortest: bool, run_id: str
) -> None:
    """Tune the checkpoint in `out` on the validation split; without one, only its shortest bouts are found."""
    training_labels = labels_of(training_data, "train")
    if training_data.manifest.of_split("val"):
        split = _validation_split(out, labeller, training_data)
        tune_checkpoint(out, split, params, training_labels=training_labels, shortest=shortest, run_id=run_id)
    elif shortest:
        set_shortest_bouts(out, training_labels, training_data.manifest.label_space)


def _log_model(manifest: Manifest, out: Path, *, name: str, run_id: str) -> None:
    """Log the checkpoint in `out` as a model of MLflow."""
    space = manifest.label_space
    signature = LABELS_SIGNATURE if space.is_exclusive else overlapping_signature(space.classes)
    store.log_model(run_id, out, name=name, example=manifest.sources[0].path, signature=signature)


def _with_lengths_in_frames(params: Params, training_data: TrainingData) -> Params:
    """Replace the `auto` lengths of the labeller by numbers of frames, at least 1.

    That of the shortest segment holds until `tune_checkpoint` or `set_shortest_bouts` has found better ones.
    """
    median = median_segment_frames(labels_of(training_data, "train").values())
    settings = params.labeller
    shares = {"min_segment_frames": MIN_SEGMENT_SHARE, "pool_frames": POOL_SHARE}
    frames = {
        name: max(1, round(share * median)) for name, share in shares.items() if getattr(settings, name) == "auto"
    }
    if "pool_frames" in frames:
        frames["pool_frames"] = min(frames["pool_frames"], MAX_STEP_FRAMES)
    return params.model_copy(update={"labeller": settings.model_copy(update=frames)})


def _datasets(manifest: Manifest) -> store.Datasets:
    """Return what MLflow shows of the data: the videos of each split."""
    sources = {split: manifest.of_split(split) for split in SPLITS}
    return store.Datasets(
        manifest.name,
        manifest.fingerprint(),
        folder=Path(manifest.sources[0].path).parent,
        rows={
            split: [{"stem": s.stem, "group": s.group, "num_frames": float(s.num_frames)} for s in of_split]
            for split, of_split in sources.items()
        },
    )


def _saver(
    params: Params, training_data: TrainingData, labeller: Labeller, out: Path, *, run_id: str
) -> Callable[[], None]:
    """Return a function that writes the model, as it is when the function is called, as a checkpoint.

    Where the decoding is auto, it merges until `tune_checkpoint` has found that decoding segments is better.
    """
    manifest, frames = training_data.manifest, training_data.frame_encoder
    settings, segments = params.labeller, None
    if settings.always_decodes:
        segments = fit_segment_model(
            labels_of(training_data, "train").values(),
            manifest.label_space,
            by_kind=settings.decoding == "viterbi_by_kind",
        )
    settings = settings.model_copy(update={"decoding": "viterbi" if segments else "merge"})
    spec = CheckpointSpec(
        classes=manifest.label_space.classes,
        background=manifest.label_space.background,
        groups=manifest.label_space.groups,
        num_features=labeller.num_features,
        encoder=frames.spec if frames else None,
        labeller=settings,
        frame_rate=manifest.frame_rate,
        segments=segments,
        lineage=lineage_of(run_id, data_fingerprint=manifest.fingerprint()),
    )
    return partial(save_checkpoint, out, spec, labeller, frames.encoder if frames else None)


def validate(labeller: Labeller, training_data: TrainingData) -> Scores:
    """Compute loss and scores on whole videos of the validation split; segment scores are without the background class.

    Each rank reads some of the videos.

    Args:
        labeller: The labeller, in eval mode.
        training_data: The data set.

    Returns:
        The scores by name; "loss" is the mean over the labelled frames, see `summed_cross_entropy`.
    """
    manifest = training_data.manifest
    truth, predicted, found, losses, counts = {}, {}, {}, 0.0, 0
    of_ranks = ranks.gathered(
        {
            source.stem: labeller.predict(training_data.feature_chunks(source))
            for source in ranks.mine(manifest.of_split("val"))
        }
    )
    for source in manifest.of_split("val"):
        probabilities = of_ranks[source.stem]
        labels = training_data.labels[source.stem]
        truth[source.stem], predicted[source.stem] = labels, plain_labels(probabilities, manifest.label_space)
        found[source.stem] = probabilities
        loss, count = summed_cross_entropy(probabilities, labels, manifest.label_space)
        losses, counts = losses + loss, counts + count
    scores = watched_scores(truth, predicted, manifest.label_space, found)
    return {"loss": losses / max(1, counts), **scores}


def _validation_split(out: Path, labeller: Labeller, training_data: TrainingData) -> Split:
    """Return the validation split with the probabilities of the checkpoint in `out`, that of the best epoch."""
    modules: dict[str, nn.Module] = {"labeller": labeller}
    if training_data.from_pixels:
        assert training_data.frame_encoder is not None
        modules["encoder"] = training_data.frame_encoder.encoder
    load_weights(out, modules)
    for module in modules.values():
        module.eval()
    manifest = training_data.manifest
    stems = {source.stem: source for source in manifest.of_split("val")}
    probabilities = {stem: labeller.predict(training_data.feature_chunks(source)) for stem, source in stems.items()}
    return Split({stem: training_data.labels[stem] for stem in stems}, probabilities, manifest.label_space)


def _diagnoser(params: Params, training_data: TrainingData, labeller: Labeller) -> Callable[[], Diagnosis] | None:
    """Return a function that diagnoses the gradients of one batch, which is always the same.

    The batch is of validation videos, where there are any. None where nothing is carried from step to step: without a
    recurrent network, or in windows of single steps.
    """
    labels = delayed(labels_of(training_data, "val") or labels_of(training_data, "train"), params.labeller.look_ahead)
    label_space = training_data.manifest.label_space
    video_classes = classes_of_videos(params.labeller.head, labels, label_space)
    max_frames = DIAGNOSED_FRAMES * labeller.pool_frames
    windows = plan_windows(
        labels,
        label_space,
        window_frames=min(params.training.window_frames or max_frames, max_frames),
        generator=np.random.default_rng(params.seed),
    )
    windows = sorted(windows, key=lambda window: window.start - window.stop)[:DIAGNOSED_VIDEOS]  # the longest ones
    if labeller.rnn is None or not windows or windows[0].stop - windows[0].start <= labeller.pool_frames:
        return None

    @torch.no_grad()
    def read(stem: str, start: int, stop: int) -> torch.Tensor:
        inputs = training_data.read(stem, start, stop)
        if not training_data.from_pixels:
            return inputs
        assert training_data.frame_encoder is not None
        return training_data.frame_encoder.encoder(inputs.to(labeller.classifier.weight.device))

    def run() -> Diagnosis:
        (batch,) = read_batches(
            [windows], labels, read=read, video_classes=video_classes, context_frames=labeller.look_ahead
        )
        diagnosis = diagnose(labeller, params.labeller.cell, batch, make_objective(label_space))
        assert diagnosis is not None
        return diagnosis

    return run


def _build_model(params: Params, training_data: TrainingData, device: torch.device) -> tuple[Labeller, nn.Module]:
    num_features = _num_features(training_data)
    labeller = make_labeller(
        params.labeller,
        training_data.manifest.label_space,
        num_features=num_features,
        grid=training_data.frame_encoder.encoder.grid if training_data.frame_encoder else 1,
        feature_noise=params.training.feature_noise,
        feature_dropout=params.training.feature_dropout,
    )
    labeller.to(device)
    if not training_data.from_pixels:
        return labeller, labeller
    assert training_data.frame_encoder is not None
    augmentation = Augmentation(**params.encoder.augmentation.model_dump())
    return labeller, EndToEnd(training_data.frame_encoder.encoder.to(device), labeller, augmentation=augmentation)


def _num_features(training_data: TrainingData) -> int:
    if training_data.frame_encoder:
        return training_data.frame_encoder.encoder.num_features
    width = training_data.manifest.sources[0].width
    assert width is not None, "prepare writes the width of ready features"
    return width


def _parameter_groups(params: Params, training_data: TrainingData, labeller: Labeller) -> ParameterGroups:
    groups: ParameterGroups = [{"params": list(labeller.parameters()), "lr": params.training.learning_rate}]
    if training_data.from_pixels and training_data.frame_encoder:
        settings, encoder = params.encoder, training_data.frame_encoder.encoder
        if settings.train_from is not None:
            encoder.train_from(settings.train_from)
        groups += rate_groups(encoder.trunk, rate=settings.learning_rate, decay=settings.layer_decay)
    return groups


def _class_weights(params: Params, training_data: TrainingData, device: torch.device) -> torch.Tensor | None:
    if params.training.class_weights == "none":
        return None
    label_space = training_data.manifest.label_space
    targets = batch_targets(params, labels_of(training_data, "train"), label_space)
    weights = balanced_weights(torch.from_numpy(targets), label_space).to(device)
    return weights.sqrt() if params.training.class_weights == "square_root" else weights


def _run_params(params: Params, training_data: TrainingData, teacher: Teacher | None) -> dict[str, object]:
    sections = params.model_dump(mode="json", include={"seed", "dataset", "encoder", "labeller", "training"})
    sections["dataset"]["reader"] = training_data.manifest.reader  # auto is resolved there
    if training_data.frame_encoder:
        sections["encoder_fingerprint"] = training_data.frame_encoder.fingerprint()
    if teacher:
        sections["distillation"] = params.distillation.model_dump(mode="json")
        sections["teacher_fingerprint"] = teacher.fingerprint
    return sections


def _run_name(name: str, params: Params, training_data: TrainingData) -> str:
    """Return the name of the run in MLflow's list, such as labeller-bigru-scenes."""
    cell = ("bi" if params.labeller.bidirectional else "") + params.labeller.cell
    return "-".join([name, *([cell] if params.labeller.cell != "none" else []), training_data.manifest.name])


def _log_gradients(diagnoses: Sequence[Diagnosis], *, run_id: str) -> None:
    """Log one picture, and a curve for each of the epochs in it.

    A curve is the norm of dL/dh by frames back, the largest of all layers and directions.
    """
    epochs = np.unique(np.linspace(0, len(diagnoses) - 1, DRAWN_EPOCHS).round().astype(int)).tolist()
    norms = {epoch: np.array(diagnoses[epoch]["norms"]) for epoch in epochs}
    for epoch in epochs:
        store.log_curve(run_id, f"gradient_by_frames_back/epoch_{epoch:03d}", norms[epoch].max(axis=(0, 1)))
    radii = np.array([diagnosis["radii"] for diagnosis in diagnoses])
    store.log_figure(plot_gradients(norms, radii, diagnoses[0]["gates"]), "gradients.png")
