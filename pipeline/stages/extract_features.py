"""Stage extract_features: encode every video once, into one file each; an interrupted run is resumed."""

import hashlib
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from typing import NoReturn

import numpy as np
import torch
from tqdm import tqdm

from pipeline.checkpoints.encoder import FrameEncoder, load_encoder
from pipeline.config.params import load_params
from pipeline.datasets.encoded_frames import read_choices
from pipeline.datasets.features import SUFFIX, features_fingerprint, read_feature_file, write_features
from pipeline.datasets.manifest import Source, read_manifest
from pipeline.encoding.device import choose_device
from pipeline.encoding.runtime import exports_beside, open_runtime
from pipeline.encoding.types import Runtime
from pipeline.encoding.video import encode_video
from pipeline.stages import run_stage
from pipeline.stages.paths import ENCODER, FEATURES, PREPARED
from pipeline.video.frame_choice import FrameChoice
from pipeline.video.open import open_scaled
from pipeline.video.types import Backend, scaling_of

GIVEN = "given"  # features that no encoder made


def main() -> None:
    """Write data/features. With an encoder that is trained end to end it stays empty, as training then reads pixels."""
    params = load_params()
    FEATURES.mkdir(parents=True, exist_ok=True)
    manifest, _ = read_manifest(PREPARED)
    sources = () if params.encoder.training == "end_to_end" else manifest.sources
    device = choose_device(params.training.device)
    extract_features(
        sources,
        load_encoder(ENCODER),
        FEATURES,
        device=device,
        exports=exports_beside(ENCODER),
        reader=manifest.reader,
        frame_rate=manifest.frame_rate,
        choices=read_choices(PREPARED),
    )


def extract_features(
    sources: tuple[Source, ...],
    frame_encoder: FrameEncoder | None,
    out: Path,
    *,
    device: torch.device,
    exports: Path | None,
    reader: Backend = "auto",
    frame_rate: float | None = None,
    choices: Mapping[str, FrameChoice] = MappingProxyType({}),
) -> None:
    """Write the features of each source that `out` does not contain yet, and remove files that belong to no source.

    Args:
        sources: The sources.
        frame_encoder: The encoder, which is moved to `device`; None for ready features.
        out: The folder of the features.
        device: The device of the encoder.
        exports: The folder for exports of the encoder, see `open_runtime`.
        reader: The reader that decodes the videos; features from the frames of another reader are computed again.
        frame_rate: How many frames per second are encoded; features of another rate are computed again. None: every
            frame.
        choices: These frames, by the stem of each source.
    """
    of_path = {out / f"{source.stem}{SUFFIX}": source for source in sources}
    for path in out.iterdir():
        if path not in of_path:
            path.unlink()
    encoder_fingerprint = frame_encoder.fingerprint() if frame_encoder else GIVEN
    keys = {path: _fingerprint(encoder_fingerprint, source, reader, frame_rate) for path, source in of_path.items()}
    due = [path for path in of_path if features_fingerprint(path) != keys[path]]
    if not due:
        print("every video is encoded already" if of_path else "nothing to encode: the encoder is trained end to end")
        return
    runtime = None
    if frame_encoder:
        frame_encoder.encoder.to(device)
        runtime = open_runtime(frame_encoder, exports=exports)
    with tqdm(total=sum(of_path[path].num_frames for path in due), desc="encoding", unit="frame") as bar:
        for path in due:
            choice = choices.get(of_path[path].stem)
            features, pts_seconds = _features_of(of_path[path], runtime, bar, reader, choice)
            write_features(path, features, pts_seconds, fingerprint=keys[path])


def _fingerprint(encoder_fingerprint: str, source: Source, reader: Backend, frame_rate: float | None = None) -> str:
    scaling = "" if encoder_fingerprint == GIVEN else scaling_of(reader)
    rate = "" if frame_rate is None else f" {frame_rate} frames per second"
    return hashlib.sha256(f"{encoder_fingerprint} {source.sha256} {scaling}{rate}".encode()).hexdigest()[:16]


def _features_of(
    source: Source, runtime: Runtime | None, bar: "tqdm[NoReturn]", reader: Backend, choice: FrameChoice | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the features [n, F] of the frames that are encoded, and the times float64 [T] of all frames."""
    if runtime is None:
        bar.update(source.num_frames)
        features = read_feature_file(Path(source.path))
        features = features.astype(np.float32) if features.dtype == np.float64 else features
        return features, np.full(len(features), np.nan)
    features_parts, num_before = [], bar.n
    with open_scaled(Path(source.path), runtime.frame_encoder.preprocess, reader=reader) as video:
        with closing(encode_video(video, runtime, positions=choice.positions if choice else None)) as chunks:
            for chunk in chunks:
                features_parts.append(chunk.features.half().cpu().numpy())
                bar.update(num_before + int(chunk.index[-1]) + 1 - bar.n)
        bar.update(num_before + source.num_frames - bar.n)
        return np.concatenate(features_parts), video.index.pts_seconds


if __name__ == "__main__":
    run_stage(main)
