"""Small real models and videos that the tests of the command and of labelling make when they need them."""

from fractions import Fraction
from itertools import cycle, islice
from pathlib import Path

import av
import numpy as np
import torch
import yaml
from made_exports import share_exports
from torch.nn import LayerNorm
from torch.nn.functional import interpolate, layer_norm

from pipeline.annotations.label_space import LabelSpace
from pipeline.checkpoints.captioner import CaptionerSpec, make_captioner, save_captioner
from pipeline.checkpoints.encoder import EncoderSpec, FrameEncoder, PreprocessSpec
from pipeline.checkpoints.labeller import CheckpointSpec, Decision, make_labeller, save_checkpoint
from pipeline.checkpoints.storage import Lineage
from pipeline.config.captioner import CaptionerSettings
from pipeline.config.labeller import LabellerSettings
from pipeline.models.encoders.building import build_encoder
from pipeline.models.encoders.small_cnn import SMALL_CNN
from pipeline.models.labeller import Labeller
from pipeline.text.vocabulary import SPECIAL_WORDS
from pipeline.video.writer import VideoWriter

CLASSES = ("idle", "left", "right")
EXCLUSIVE = LabelSpace(CLASSES, background="idle")
OVERLAPPING = LabelSpace(("eats", "sleeps", "rears"), groups=("state", "state", "posture"))
LINEAGE = Lineage(run_id="0" * 32, git_commit="unknown", data_fingerprint="0" * 16, dvc_experiment=None)
SETTINGS = LabellerSettings.model_validate(
    yaml.safe_load((Path(__file__).parents[1] / "configs" / "labeller" / "gru.yaml").read_text())
    | {"hidden_size": 8, "num_layers": 1, "min_segment_frames": 1, "decoding": "merge"}
)
CAPTIONER = CaptionerSettings.model_validate(
    yaml.safe_load((Path(__file__).parents[1] / "configs" / "captioner" / "lstm.yaml").read_text())
    | {
        "cell": "gru",
        "embedding_size": 8,
        "hidden_size": 8,
        "num_heads": 2,
        "decoding": {"beam_size": 3, "max_words": 6, "length_penalty": 0.7},
    }
)
CAPTION_WORDS = ("a", "dog", "'s", "ball", "two", "men", "run", "sit", "on", "grass")
PREPROCESS = PreprocessSpec(
    size=(32, 32), crop=None, crop_unit="pixels", color="rgb", mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2)
)
CAPTION_PREPROCESS = PREPROCESS.model_copy(update={"size": (64, 64)})  # 2 x 2 cells


def save_video_model(
    folder: Path,
    *,
    settings: LabellerSettings = SETTINGS,
    preprocess: PreprocessSpec = PREPROCESS,
    label_space: LabelSpace = EXCLUSIVE,
    decisions: dict[str, Decision] | None = None,
    frame_rate: float | None = None,
    spread: bool = False,
) -> Path:
    """Save an untrained checkpoint that labels videos: a random small_cnn and a GRU of 8 units.

    With `spread` its logits differ from one random frame to the next; otherwise all frames have much the same.
    """
    torch.manual_seed(0)
    encoder = build_encoder(SMALL_CNN, weights=None)
    spec = CheckpointSpec(
        classes=label_space.classes,
        background=label_space.background,
        groups=label_space.groups,
        decisions=decisions,
        num_features=encoder.num_features,
        encoder=EncoderSpec(name=SMALL_CNN, grid=1, batch_norm="frozen", batch_size=8, preprocess=preprocess),
        labeller=settings,
        frame_rate=frame_rate,
        lineage=LINEAGE,
    )
    labeller = make_labeller(settings, label_space, num_features=encoder.num_features)
    if spread:
        pixels = interpolate(torch.rand(96, 3, 48, 64), preprocess.size, mode="area")
        with torch.no_grad():
            logits, _ = labeller.eval()(encoder.eval()((pixels - 0.5) / 0.2)[None])
            std, mean = torch.std_mean(logits[0, 32:], dim=0)
            labeller.classifier.bias.sub_(mean).div_(std)
            labeller.classifier.weight.div_(std[:, None])
    save_checkpoint(folder, spec, labeller, encoder)
    share_exports(folder)
    return folder


def save_overlapping_model(folder: Path) -> Path:
    """Save an untrained checkpoint of OVERLAPPING that labels videos, in whose frames classes come and go."""
    decisions = {
        "eats": Decision(threshold=0.3, min_segment_frames=2),
        "sleeps": Decision(threshold=0.25),
        "rears": Decision(threshold=0.4, min_segment_frames=3, temperature=2.0),
    }
    return save_video_model(folder, label_space=OVERLAPPING, decisions=decisions, spread=True)


def save_caption_model(folder: Path, *, preprocess: PreprocessSpec = CAPTION_PREPROCESS) -> Path:
    """Save an untrained checkpoint that captions images: a random small_cnn, 2 x 2 regions and a GRU of 8 units.

    Its captions depend on the colours of the image: what a random encoder gives for all images is subtracted.
    """
    torch.manual_seed(1)  # with it, no caption is empty
    encoder = build_encoder(SMALL_CNN, weights=None, grid=2)
    described = EncoderSpec(name=SMALL_CNN, grid=2, batch_norm="frozen", batch_size=4, preprocess=preprocess)
    vocabulary = (*SPECIAL_WORDS, *CAPTION_WORDS)
    captioner = make_captioner(CAPTIONER, encoder, num_words=len(vocabulary))
    with torch.no_grad():
        colors = torch.randn(16, 3, 1, 1).expand(-1, -1, *preprocess.size)
        regions = layer_norm(encoder.regions(colors), [encoder.num_channels])
        std, mean = torch.std_mean(regions, dim=(0, 1))
        norms = [module for module in captioner.modules() if isinstance(module, LayerNorm)]
        (of_regions,) = (norm for norm in norms if norm.normalized_shape == (encoder.num_channels,))
        of_regions.weight.copy_(1 / (std + 1e-6))
        of_regions.bias.copy_(-mean / (std + 1e-6))
        captioner.embedding.weight.mul_(4)
    spec = CaptionerSpec(words=vocabulary, encoder=described, captioner=CAPTIONER, lineage=LINEAGE)
    save_captioner(folder, spec, captioner, FrameEncoder(described, encoder))
    share_exports(folder)
    return folder


def save_feature_model(folder: Path, *, num_features: int = 6) -> Path:
    """Save an untrained checkpoint that labels ready features."""
    torch.manual_seed(0)
    spec = CheckpointSpec(
        classes=CLASSES,
        background=None,
        num_features=num_features,
        encoder=None,
        labeller=SETTINGS,
        lineage=LINEAGE,
    )
    labeller = Labeller(SETTINGS, num_features=num_features, num_classes=len(CLASSES))
    save_checkpoint(folder, spec, labeller, None)
    return folder


def write_video(
    path: Path, *, num_frames: int = 20, size: tuple[int, int] = (64, 48), times: np.ndarray | None = None
) -> Path:
    """Write random frames of `size` (width, height) as H.264, at `times` (25 frames per second). Returns `path`."""
    pixels = np.random.default_rng(num_frames).integers(0, 256, (num_frames, size[1], size[0], 3), dtype=np.uint8)
    times = np.arange(num_frames) / 25 if times is None else times
    with VideoWriter(path, width=size[0], height=size[1], frame_rate=Fraction(25)) as writer:
        for frame, seconds in zip(pixels, times, strict=True):
            writer.write(frame, float(seconds))
    return path


def write_black_video(path: Path, *, num_frames: int, size: tuple[int, int] = (64, 48)) -> Path:
    """Write black frames of `size` (width, height) as H.264, thousands of them a second. Returns `path`."""
    encoded = 250
    black = av.VideoFrame.from_ndarray(np.zeros((size[1], size[0], 3), np.uint8), format="rgb24")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0", "g": "25"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        packets = [packet for _ in range(encoded) for packet in stream.encode(black)] + stream.encode(None)
        contents = [(bytes(packet), packet.is_keyframe) for packet in packets]
        for ticks, (content, is_keyframe) in enumerate(islice(cycle(contents), num_frames)):
            packet = av.Packet(content)
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), is_keyframe
            packet.pts = packet.dts = ticks
            container.mux(packet)
    return path


def write_endless_video(path: Path) -> Path:
    """Write a video of 200,000 frames, which no machine labels within a test. Returns `path`."""
    return write_black_video(path, num_frames=200_000)


def damage(path: Path) -> None:
    """Blank a part in the middle of a video of noise, which damages some frames."""
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + len(content) // 8] = bytes(len(content) // 8)
    path.write_bytes(content)


def files_of(folder: Path) -> dict[str, bytes]:
    """The contents of the files of a folder, by their names."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_other_container(path: Path, codec: str, *, num_frames: int = 60) -> Path:
    """Write a video in the container that the suffix names (avi, mkv), with 25 frames per second."""
    pixels = np.random.default_rng(0).integers(0, 256, (num_frames, 48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in pixels:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def write_sound(path: Path) -> Path:
    """Write an mp4 that has only one second of silence."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((2, 48000), np.float32), format="fltp", layout="stereo")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def drop_box(video: Path, name: bytes) -> None:
    """Remove an outermost box, such as `moov`, from an mp4: a killed recording lacks it."""
    content, start = video.read_bytes(), 0
    while start < len(content):
        size = int.from_bytes(content[start : start + 4], "big")
        if content[start + 4 : start + 8] == name:
            video.write_bytes(content[:start] + content[start + size :])
            return
        start += size
    raise ValueError(f"{video} has no box {name!r}")
