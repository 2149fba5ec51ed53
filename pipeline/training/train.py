"""One trained model: from the prepared data set to a checkpoint folder and its MLflow run.

The labeller on cached features, the labeller end to end with its encoder, the frame classifier and the baseline without
a recurrent network all come this way. T frames, F features, K classes, h and w pixels.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import torch
from torch import nn

from pipeline.checkpoint import (
    CheckpointSpec,
    FrameEncoder,
    load_weights,
    make_labeller,
    save_checkpoint,
    set_tuned,
)
from pipeline.config import Params
from pipeline.datasets.features import SUFFIX, read_features
from pipeline.datasets.manifest import SPLITS, Manifest, Source, read_manifest, video_class
from pipeline.datasets.support import CLASS_SUPPORT
from pipeline.datasets.windows import Batch, plan_consecutive, plan_windows, read_batches
from pipeline.encode import choose_device, encode_video
from pipeline.labels.annotations import DECODE_REPORT
from pipeline.labels.segments import IGNORE_INDEX, median_segment_frames
from pipeline.metrics.plots import plot_gradients
from pipeline.models.augmentation import Augmentation
from pipeline.models.labeller import EndToEnd, Labeller
from pipeline.runtime import TorchRuntime, cpu_threads
from pipeline.training import tracking
from pipeline.training.diagnosis import Diagnosis, diagnose
from pipeline.training.loop import Callbacks, Learner, ParameterGroups, Scores, fit
from pipeline.training.losses import balanced_class_weights
from pipeline.training.runs import lineage_of, log_history, open_state, open_training_run
from pipeline.training.tuning import Split, watched_scores
from pipeline.video.reader import open_scaled

DIAGNOSED_VIDEOS, DIAGNOSED_FRAMES = 8, 64  # the batch on which gradients are looked at, at most
DRAWN_EPOCHS = 6
MOST_PIXELS_KEPT = 2 * 2**30  # bytes: training videos that take no more, at the encoder's size, are decoded once
# Of the median training segment: what `auto` means for labeller.min_segment_frames and labeller.pool_frames.
MIN_SEGMENT_SHARE, POOL_SHARE = 0.4, 0.2


@dataclass(frozen=True)
class Material:
    """What a model learns from: the manifest, the labels int64 [T] of each stem, and where the features lie.

    `frames`: the encoder; with `from_pixels` it is trained too and nothing is read from `features`. `reports`: what
    `prepare` found out about each file and each class.
    """

    manifest: Manifest
    labels: Mapping[str, np.ndarray]
    features: Path
    frames: FrameEncoder | None
    from_pixels: bool
    reports: tuple[Path, ...]
    pixels: dict[str, torch.Tensor] = field(default_factory=dict)  # of the videos that were read, where all fit

    @classmethod
    def open(cls, prepared: Path, features: Path, frames: FrameEncoder | None, *, from_pixels: bool) -> "Material":
        manifest, labels = read_manifest(prepared)
        reports = (prepared / DECODE_REPORT, prepared / CLASS_SUPPORT)
        return cls(manifest, labels, features, frames, from_pixels, reports)

    def read(self, stem: str, start: int, stop: int) -> torch.Tensor:
        """Frames [start, stop) of a video as the model takes them: features [T,F], or pixels [T,3,h,w]."""
        if not self.from_pixels:
            return read_features(self.features / f"{stem}{SUFFIX}", start, stop)
        assert self.frames is not None
        preprocess = self.frames.preprocess
        if not self._pixels_fit:
            return preprocess.normalize(self._decode(stem, start, stop))
        if stem not in self.pixels:
            self.pixels[stem] = self._decode(stem, 0, len(self.labels[stem]))
        return preprocess.normalize(self.pixels[stem][start:stop])

    @cached_property
    def _pixels_fit(self) -> bool:
        """Whether the training videos may stay in memory, as the encoder takes them."""
        assert self.frames is not None
        num_frames = sum(source.num_frames for source in self.manifest.of_split("train"))
        return 3 * math.prod(self.frames.preprocess.size) * num_frames <= MOST_PIXELS_KEPT

    def _decode(self, stem: str, start: int, stop: int) -> torch.Tensor:
        """uint8 [T, h, w, 3], of the encoder's size."""
        assert self.frames is not None
        path = next(source.path for source in self.manifest.sources if source.stem == stem)
        with open_scaled(Path(path), self.frames.preprocess) as reader:
            batches = reader.read(start, stop, batch_size=stop - start)
            return torch.cat([torch.from_numpy(batch.pixels) for batch in batches])

    def feature_chunks(self, source: Source) -> Iterable[torch.Tensor]:
        """The features of a whole video: cached ones, or what the encoder makes of it now."""
        if not self.from_pixels:
            return [read_features(self.features / f"{source.stem}{SUFFIX}")]
        assert self.frames is not None
        return self._encode(source, self.frames)

    @staticmethod
    def _encode(source: Source, frames: FrameEncoder) -> Iterator[torch.Tensor]:
        with open_scaled(Path(source.path), frames.preprocess) as reader:
            for chunk in encode_video(reader, TorchRuntime(frames)):  # of weights that change: no export would last
                yield chunk.features


def train(params: Params, material: Material, out: Path, *, name: str) -> None:
    """Train the labeller of `params` into the checkpoint folder `out`, tracked as a run whose name begins with `name`.

    Killed at any moment and called again, it goes on from its last epoch in the same run. `out` holds the best model as
    a checkpoint, the last one in training_state.pt, and the curves in history.csv.
    """
    shortest_is_tuned = params.labeller.min_segment_frames == "auto"
    params = _with_lengths_in_frames(params, material)
    device = choose_device(params.training.device)
    torch.manual_seed(params.seed)
    labeller, model = _build_model(params, material, device)
    state = open_state(out, params=_run_params(params, material), data_fingerprint=material.manifest.fingerprint())
    if state.complete:
        print(f"{name}: already trained with these settings, data and code; remove {out} to train it anew")
        return
    learner = Learner(
        model,
        _parameter_groups(params, material, labeller),
        settings=params.training,
        class_weights=_class_weights(params, material, device),
    )
    with open_training_run(state, out, name=_run_name(name, params, material), search=params.search) as run_id:
        tracking.log_start(_run_params(params, material), _datasets(material.manifest), model=name)
        for report in material.reports:
            tracking.log_file(report)
        callbacks = Callbacks(
            batches=partial(_batches, params, material),
            validate=partial(validate, labeller, material) if material.manifest.of_split("val") else None,
            save_best=_saver(params, material, labeller, out, run_id=run_id),
            report=partial(tracking.log_epoch, run_id),
            diagnose=_diagnoser(params, material, labeller),
        )
        # The steps of a recurrent network are too small to share between threads: on two busy cores, threads that wait
        # for each other took 50 s an epoch on `scenes`, one alone 3.5 s.
        with cpu_threads(None if material.from_pixels else 1):
            progress = fit(learner, seed=params.seed, state=state, callbacks=callbacks, description=name)
            if material.manifest.of_split("val"):
                _tune(out, labeller, material, shortest=shortest_is_tuned)
        log_history(progress, out)
        if progress.diagnoses:
            _log_gradients(progress.diagnoses, run_id=run_id)
        example = material.manifest.sources[0].path
        tracking.log_model(run_id, out, name=name, example=example, signature=tracking.LABELS_SIGNATURE)
        state.finish()


def _with_lengths_in_frames(params: Params, material: Material) -> Params:
    """`auto` lengths of the labeller as numbers of frames, at least 1; of the shortest segment as long as `_tune` has
    not found the best.
    """
    median = median_segment_frames(_labels_of(material, "train").values())
    settings = params.labeller
    shares = {"min_segment_frames": MIN_SEGMENT_SHARE, "pool_frames": POOL_SHARE}
    frames = {
        name: max(1, round(share * median)) for name, share in shares.items() if getattr(settings, name) == "auto"
    }
    return params.model_copy(update={"labeller": settings.model_copy(update=frames)})


def _datasets(manifest: Manifest) -> tracking.Datasets:
    """What MLflow shows of the data: the videos of each split."""
    sources = {split: manifest.of_split(split) for split in SPLITS}
    return tracking.Datasets(
        manifest.name,
        manifest.fingerprint(),
        folder=Path(manifest.sources[0].path).parent,
        rows={
            split: [{"stem": s.stem, "group": s.group, "num_frames": float(s.num_frames)} for s in of_split]
            for split, of_split in sources.items()
        },
    )


def _saver(params: Params, material: Material, labeller: Labeller, out: Path, *, run_id: str) -> Callable[[], None]:
    """What writes the model, as it is when called, as a checkpoint."""
    manifest, frames = material.manifest, material.frames
    spec = CheckpointSpec(
        classes=manifest.classes,
        background=manifest.background,
        num_features=labeller.num_features,
        encoder=frames.spec if frames else None,
        labeller=params.labeller,
        lineage=lineage_of(run_id, data_fingerprint=manifest.fingerprint()),
    )
    return partial(save_checkpoint, out, spec, labeller, frames.encoder if frames else None)


def validate(labeller: Labeller, material: Material) -> Scores:
    """Loss and scores on whole videos of the validation split; segment scores are without the background class."""
    manifest = material.manifest
    truth, predicted, losses, counts = {}, {}, 0.0, 0
    for source in manifest.of_split("val"):
        probabilities = labeller.predict(material.feature_chunks(source))
        labels = material.labels[source.stem]
        truth[source.stem], predicted[source.stem] = labels, probabilities.argmax(axis=1)
        labelled = labels != IGNORE_INDEX
        chosen = probabilities[labelled, labels[labelled]]
        losses -= float(np.log(np.maximum(chosen, 1e-12)).sum())
        counts += int(labelled.sum())
    scores = watched_scores(truth, predicted, manifest.classes, manifest.background)
    return {"loss": losses / max(1, counts), **scores}


def _tune(out: Path, labeller: Labeller, material: Material, *, shortest: bool) -> None:
    """Fit the temperature of the checkpoint in `out` on the validation split, and the shortest segment if it is `auto`.

    They are written there, and into the run, with the scores before and after segments are merged.
    """
    modules: dict[str, nn.Module] = {"labeller": labeller}
    if material.from_pixels:
        assert material.frames is not None
        modules["encoder"] = material.frames.encoder
    load_weights(out, modules)  # those of the best epoch
    for module in modules.values():
        module.eval()
    manifest = material.manifest
    stems = {source.stem: source for source in manifest.of_split("val")}
    probabilities = {stem: labeller.predict(material.feature_chunks(source)) for stem, source in stems.items()}
    split = Split({stem: material.labels[stem] for stem in stems}, probabilities, manifest.classes, manifest.background)
    temperature = split.temperature()
    found: dict[str, float] = {"temperature": temperature}
    frames = None
    if shortest:
        frames, after = split.best_min_segment_frames()
        before = split.scores(1)
        found |= {"min_segment_frames": frames}
        found |= {f"{name}_{when}": score for when, scores in (("before", before), ("after", after))
                  for name, score in scores.items()}  # fmt: skip
    set_tuned(out, temperature=temperature, min_segment_frames=frames)
    tracking.log_scores({f"tuning/{name}": value for name, value in found.items()})


def _diagnoser(params: Params, material: Material, labeller: Labeller) -> Callable[[], Diagnosis] | None:
    """What looks at the gradients of one batch, always the same: of validation videos, where there are any.

    None where nothing is carried from step to step: without a recurrent network, or in windows of single steps.
    """
    labels = _labels_of(material, "val") or _labels_of(material, "train")
    video_classes = _video_classes(params.labeller.head, labels)
    most_frames = DIAGNOSED_FRAMES * labeller.pool_frames
    windows = plan_windows(
        labels,
        window_frames=min(params.training.window_frames or most_frames, most_frames),
        generator=np.random.default_rng(params.seed),
    )
    windows = sorted(windows, key=lambda window: window.start - window.stop)[:DIAGNOSED_VIDEOS]  # the longest ones
    if labeller.rnn is None or not windows or windows[0].stop - windows[0].start <= labeller.pool_frames:
        return None

    @torch.no_grad()
    def read(stem: str, start: int, stop: int) -> torch.Tensor:
        inputs = material.read(stem, start, stop)
        if not material.from_pixels:
            return inputs
        assert material.frames is not None
        return material.frames.encoder(inputs.to(labeller.classifier.weight.device))

    def run() -> Diagnosis:
        (batch,) = read_batches([windows], labels, read=read, video_classes=video_classes)
        diagnosis = diagnose(labeller, params.labeller.cell, batch)
        assert diagnosis is not None
        return diagnosis

    return run


def _build_model(params: Params, material: Material, device: torch.device) -> tuple[Labeller, nn.Module]:
    num_features = _num_features(material)
    labeller = make_labeller(
        params.labeller,
        num_features=num_features,
        num_classes=len(material.manifest.classes),
        feature_noise=params.training.feature_noise,
        feature_dropout=params.training.feature_dropout,
    )
    labeller.to(device)
    if not material.from_pixels:
        return labeller, labeller
    assert material.frames is not None
    augmentation = Augmentation(**params.encoder.augmentation.model_dump())
    return labeller, EndToEnd(material.frames.encoder.to(device), labeller, augmentation=augmentation)


def _num_features(material: Material) -> int:
    if material.frames:
        return material.frames.encoder.num_features
    width = material.manifest.sources[0].width
    assert width is not None, "prepare writes the width of ready features"
    return width


def _parameter_groups(params: Params, material: Material, labeller: Labeller) -> ParameterGroups:
    groups: ParameterGroups = [{"params": list(labeller.parameters()), "lr": params.training.learning_rate}]
    if material.from_pixels and material.frames:
        groups.append({"params": list(material.frames.encoder.parameters()), "lr": params.encoder.learning_rate})
    return groups


def _batches(params: Params, material: Material, epoch: int) -> Iterator[Batch]:
    labels = _labels_of(material, "train")
    settings = params.training
    generator = np.random.default_rng([params.seed, epoch])
    consecutive = settings.windows == "consecutive"
    if consecutive:
        assert settings.window_frames is not None, "config refuses consecutive windows without a length"
        steps = plan_consecutive(
            labels, window_frames=settings.window_frames, batch_size=settings.batch_size, generator=generator
        )
    else:
        windows = plan_windows(labels, window_frames=settings.window_frames, generator=generator)
        steps = [windows[i : i + settings.batch_size] for i in range(0, len(windows), settings.batch_size)]
    video_classes = _video_classes(params.labeller.head, labels)
    return read_batches(steps, labels, read=material.read, video_classes=video_classes, consecutive=consecutive)


def _labels_of(material: Material, split: str) -> dict[str, np.ndarray]:
    return {source.stem: material.labels[source.stem] for source in material.manifest.of_split(split)}


def _video_classes(head: str, labels: Mapping[str, np.ndarray]) -> dict[str, int] | None:
    """For many-to-one: the class of each video that has one."""
    if head != "many_to_one":
        return None
    return {stem: found for stem in labels if (found := video_class(labels[stem])) is not None}


def _class_weights(params: Params, material: Material, device: torch.device) -> torch.Tensor | None:
    if params.training.class_weights == "none":
        return None
    targets = _targets(params, _labels_of(material, "train"))
    weights = balanced_class_weights(torch.from_numpy(targets), len(material.manifest.classes)).to(device)
    return weights.sqrt() if params.training.class_weights == "square_root" else weights


def _targets(params: Params, labels: Mapping[str, np.ndarray]) -> np.ndarray:
    """What the loss of an epoch is summed over: the label of each frame; many-to-one, the class of each window."""
    video_classes = _video_classes(params.labeller.head, labels)
    if video_classes is None:
        return np.concatenate([*labels.values()])
    length = params.training.window_frames
    num_windows = [math.ceil(len(labels[stem]) / (length or len(labels[stem]))) for stem in video_classes]
    return np.repeat([*video_classes.values()], num_windows)


def _run_params(params: Params, material: Material) -> dict[str, object]:
    sections = params.model_dump(mode="json", include={"seed", "dataset", "encoder", "labeller", "training"})
    if material.frames:
        sections["encoder_fingerprint"] = material.frames.fingerprint()
    return sections


def _run_name(name: str, params: Params, material: Material) -> str:
    """How MLflow lists the run, such as labeller-bigru-scenes."""
    cell = "bi" * params.labeller.bidirectional + params.labeller.cell
    return "-".join([name, *([cell] if params.labeller.cell != "none" else []), material.manifest.name])


def _log_gradients(diagnoses: Sequence[Diagnosis], *, run_id: str) -> None:
    """One picture, and of the same epochs one curve each: the norm of dL/dh by frames back, the largest of its ways."""
    epochs = np.unique(np.linspace(0, len(diagnoses) - 1, DRAWN_EPOCHS).round().astype(int)).tolist()
    norms = {epoch: np.array(diagnoses[epoch]["norms"]) for epoch in epochs}
    for epoch in epochs:
        tracking.log_curve(run_id, f"gradient_by_frames_back/epoch_{epoch:03d}", norms[epoch].max(axis=(0, 1)))
    radii = np.array([diagnosis["radii"] for diagnosis in diagnoses])
    tracking.log_figure(plot_gradients(norms, radii, diagnoses[0]["gates"]), "gradients.png")
