"""Videos and images are encoded in order, each frame independently of the others, in batches of any size."""

import gc
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch
from made_models import write_video

from pipeline.checkpoints.encoder import FrameEncoder, make_frame_encoder
from pipeline.checkpoints.labeller import load_checkpoint
from pipeline.config.data import Pixels
from pipeline.encoding.device import choose_device
from pipeline.encoding.images import RegionEncoder, RuntimeRegions, TorchRegions, describe_images, encode_images
from pipeline.encoding.openvino import OpenVINORuntime
from pipeline.encoding.runtime import TorchRuntime
from pipeline.encoding.video import encode_video
from pipeline.errors import InputError
from pipeline.models.encoders.building import build_encoder
from pipeline.video.open import open_scaled
from pipeline.video.static_frames import StaticFrames
from pipeline.video.types import FrameBatch, VideoError


@pytest.fixture(scope="module")
def frames(video_model):
    return load_checkpoint(video_model, device=torch.device("cpu")).frame_encoder


@pytest.mark.parametrize("batch_size", [1, 7, 20, 50])
@pytest.mark.parametrize("open_it", [TorchRuntime, OpenVINORuntime])
def test_features_equal_those_of_the_encoder_in_batches_of_any_size(frames, tmp_path, batch_size, open_it):
    path = write_video(tmp_path / "clip.mp4", num_frames=20)
    runtime = open_it(FrameEncoder(frames.spec.model_copy(update={"batch_size": batch_size}), frames.encoder))
    with open_scaled(path, frames.preprocess) as reader:
        chunks = list(encode_video(reader, runtime))
    assert [len(chunk.features) for chunk in chunks[:-1]] == [batch_size] * (len(chunks) - 1)
    with open_scaled(path, frames.preprocess) as reader:
        (whole,) = reader.read(batch_size=20)
    with torch.no_grad():
        expected = frames.encoder(frames.preprocess.normalize(torch.from_numpy(whole.pixels)))
    torch.testing.assert_close(torch.cat([chunk.features for chunk in chunks]), expected, atol=1e-4, rtol=1e-4)
    np.testing.assert_array_equal(np.concatenate([chunk.index for chunk in chunks]), np.arange(20))


@pytest.mark.parametrize("static_threshold", [None, 0.0])
@pytest.mark.parametrize("batch_size", [1, 3, 50])
def test_only_the_frames_that_are_wanted_are_encoded(frames, tmp_path, batch_size, static_threshold):
    path, positions = write_video(tmp_path / "clip.mp4", num_frames=20), np.array([0, 3, 4, 11, 17])
    runtime = Counting(FrameEncoder(frames.spec.model_copy(update={"batch_size": batch_size}), frames.encoder))
    with open_scaled(path, frames.preprocess) as reader:
        everything = torch.cat([chunk.features for chunk in encode_video(reader, runtime)])
        runtime.num_frames = 0
        chunks = list(encode_video(reader, runtime, positions=positions, static_threshold=static_threshold))
    assert runtime.num_frames == sum(chunk.num_encoded for chunk in chunks) == len(positions)
    np.testing.assert_array_equal(np.concatenate([chunk.index for chunk in chunks]), positions)
    found = torch.cat([chunk.features for chunk in chunks])
    torch.testing.assert_close(found, everything[torch.from_numpy(positions)], rtol=1e-4, atol=1e-5)


class _Reading:
    """A reader of six batches that counts how many were requested, and fails at a given batch."""

    def __init__(self, *, breaks_at: int = 6) -> None:
        self.num_read, self._breaks_at = 0, breaks_at

    def read(
        self, start: int, stop: int | None, *, batch_size: int, positions: np.ndarray | None
    ) -> Iterator[FrameBatch]:
        for number in range(6):
            if number == self._breaks_at:
                raise VideoError("frame 3 cannot be decoded")
            self.num_read += 1
            yield FrameBatch(np.zeros((1, 32, 32, 3), np.uint8), np.array([number]), np.array([float(number)]))


@pytest.mark.usefixtures("no_thread_is_left")
def test_at_most_two_batches_are_decoded_ahead_of_the_caller(frames):
    reader = _Reading()
    runtime = SimpleNamespace(frame_encoder=frames, submit=lambda pixels: SimpleNamespace(result=lambda: pixels))
    chunks = encode_video(reader, runtime)
    for number in range(3):
        assert next(chunks).index.tolist() == [number]
        time.sleep(0.05)
        assert reader.num_read <= number + 3
    chunks.close()
    assert reader.num_read <= 5


@pytest.mark.usefixtures("no_thread_is_left")
def test_a_frame_that_cannot_be_decoded_is_reported(frames):
    runtime = SimpleNamespace(frame_encoder=frames, submit=lambda pixels: SimpleNamespace(result=lambda: pixels))
    with pytest.raises(VideoError, match="frame 3"):
        list(encode_video(_Reading(breaks_at=3), runtime))


# Images


def make_seeing(**pixels) -> FrameEncoder:
    """An encoder of 2 x 2 regions, with random weights."""
    torch.manual_seed(0)
    options = {"crop": None, "crop_unit": "pixels", "size": (64, 64), "color": "rgb"}
    return make_frame_encoder(
        "resnet18", weights=None, grid=2, batch_norm="frozen", batch_size=4, pixels=Pixels(**options | pixels)
    )


@pytest.fixture(scope="module")
def seeing():
    return make_seeing()


def regions_by(runtime: type, frames: FrameEncoder) -> RegionEncoder:
    """`TorchRegions`, or a runtime with all threads that it may need."""
    if runtime is TorchRegions:
        return TorchRegions(frames.encoder, frames.preprocess)
    opened = runtime(frames)
    opened.submit(np.zeros((64, *frames.preprocess.size, 3), np.uint8)).result()
    return RuntimeRegions(opened)


@pytest.fixture(scope="module", params=[TorchRegions, TorchRuntime, OpenVINORuntime])
def encode(request, seeing):
    return regions_by(request.param, seeing)


def batches_of(encode: RegionEncoder, images, *, batch_size: int) -> Iterator[torch.Tensor]:
    return describe_images(images, encode, lambda regions: regions, batch_size=batch_size)


def expected_regions(frames: FrameEncoder, image: np.ndarray) -> torch.Tensor:
    with torch.no_grad():
        return frames.encoder.regions(frames.preprocess(image[None]))[0]


def make_images(num: int) -> list[np.ndarray]:
    generator = np.random.default_rng(num)
    sizes = generator.integers(20, 90, (num, 2))
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes]


@pytest.fixture
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


@pytest.mark.usefixtures("no_thread_is_left")
@pytest.mark.parametrize(("num_images", "batch_size"), [(7, 1), (7, 3), (6, 3), (2, 5), (0, 4)])
def test_images_of_any_size_are_encoded_in_order_like_each_image_alone(encode, seeing, num_images, batch_size):
    images = make_images(num_images)
    batches = list(batches_of(encode, iter(images), batch_size=batch_size))
    full, rest = divmod(num_images, batch_size)
    assert [len(batch) for batch in batches] == [batch_size] * full + [rest] * bool(rest)
    for image, regions in zip(images, [regions for batch in batches for regions in batch], strict=True):
        expected = expected_regions(seeing, image)
        assert regions.shape == expected.shape == (4, 512)
        torch.testing.assert_close(regions, expected, atol=1e-4, rtol=1e-4)


def test_images_are_encoded_by_torch_by_default(seeing):
    images = make_images(5)
    expected = torch.cat(list(batches_of(TorchRegions(seeing.encoder, seeing.preprocess), images, batch_size=2)))
    found = encode_images(images, seeing.encoder, seeing.preprocess, batch_size=2)
    assert torch.equal(torch.cat(list(found)), expected)


def test_regions_of_an_export_do_not_depend_on_the_batch(seeing):
    encode, images = regions_by(OpenVINORuntime, seeing), make_images(9)
    first, *others = (torch.cat(list(batches_of(encode, images, batch_size=size))) for size in (1, 2, 4, 9))
    for other in others:
        assert torch.equal(other, first)


@pytest.mark.parametrize("by", [TorchRegions, TorchRuntime, OpenVINORuntime])
def test_a_region_of_interest_that_needs_no_scaling_is_encoded(by):
    """Its pixels are a strided view of the pixels of the image."""
    frames = make_seeing(crop=(10, 20, 64, 64))
    (image,) = np.random.default_rng(0).integers(0, 256, (1, 100, 90, 3), dtype=np.uint8)
    ((regions,),) = batches_of(regions_by(by, frames), [image], batch_size=1)
    torch.testing.assert_close(regions, expected_regions(frames, image), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["resnet18", "shufflenet_v2_x0_5"])
def test_regions_are_the_cells_of_the_map_row_by_row(name):
    """The last map of these networks has a cell for each 32 x 32 pixels: 4 x 8 of them are pooled to 2 x 2."""
    torch.manual_seed(0)
    encoder = build_encoder(name, weights=None, grid=2)
    images = torch.randn(2, 3, 4 * 32, 8 * 32)
    with torch.no_grad():
        cells, regions = encoder.trunk(images), encoder.regions(images)
    assert cells.shape[2:] == (4, 8)
    assert regions.shape == (2, 4, encoder.num_channels)
    for row, column in np.ndindex(2, 2):
        expected = cells[:, :, 2 * row : 2 * row + 2, 4 * column : 4 * column + 4].mean((2, 3))
        torch.testing.assert_close(regions[:, 2 * row + column], expected)


class Broken(Exception):
    pass


@pytest.mark.usefixtures("no_thread_is_left")
@pytest.mark.parametrize("position", [0, 2, 3, 6])
def test_an_error_in_reading_an_image_is_raised_after_the_batches_before_it(encode, position):
    def images() -> Iterator[np.ndarray]:
        yield from make_images(position)
        raise Broken

    batches = batches_of(encode, images(), batch_size=3)
    for _ in range(position // 3):
        assert len(next(batches)) == 3
    with pytest.raises(Broken):
        next(batches)


@pytest.mark.parametrize("by", [TorchRegions, TorchRuntime, OpenVINORuntime])
def test_an_image_smaller_than_the_region_of_interest_is_refused(by):
    images = [np.zeros((80, 80, 3), np.uint8), np.zeros((40, 80, 3), np.uint8)]
    encode = regions_by(by, make_seeing(crop=(0, 0, 60, 60)))
    with pytest.raises(InputError, match="80 wide and 40 high"):
        list(batches_of(encode, images, batch_size=8))


@pytest.mark.usefixtures("no_thread_is_left")
def test_a_caller_that_stops_early_leaves_no_thread_and_one_batch_is_read_ahead(encode):
    num_read = 0

    def images() -> Iterator[np.ndarray]:
        nonlocal num_read
        for image in make_images(40):
            num_read += 1
            yield image

    batches = batches_of(encode, images(), batch_size=4)
    next(batches)
    batches.close()
    del batches
    gc.collect()
    assert num_read <= 4 * (torch.get_num_threads() + 2)


def test_cuda_is_used_only_if_there_is_a_cuda_device(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="device cuda was asked for"):
        choose_device("cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


def still_scene(path: Path) -> list[int]:
    """Write a lossless video of 40 frames. The picture changes only at the returned frames."""
    changes = [0, 3, 4, 11, 24, 25, 39]
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        for index in range(40):
            if index in changes:
                picture = picture.copy()
                picture[16:32, 16:32] += 40  # one block
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return changes


class Counting(TorchRuntime):
    """Counts the frames that it is given."""

    num_frames = 0

    def submit(self, pixels):
        self.num_frames += len(pixels)
        return super().submit(pixels)


@pytest.mark.parametrize("batch_size", [1, 4, 16, 64])
def test_static_frames_are_not_encoded_again(batch_size, frames, tmp_path):
    frames = FrameEncoder(frames.spec.model_copy(update={"batch_size": batch_size}), frames.encoder)
    changes = still_scene(tmp_path / "still.mkv")
    runtime = Counting(frames)

    def encode(static_threshold: float | None) -> torch.Tensor:
        runtime.num_frames = 0
        with open_scaled(tmp_path / "still.mkv", frames.preprocess) as reader:
            chunks = list(encode_video(reader, runtime, static_threshold=static_threshold))
        assert runtime.num_frames == sum(chunk.num_encoded for chunk in chunks)
        return torch.cat([chunk.features for chunk in chunks])

    everything = encode(None)
    assert runtime.num_frames == 40
    features = encode(1.0)
    assert runtime.num_frames == len(changes)
    torch.testing.assert_close(features, everything, rtol=1e-4, atol=1e-5)
    assert (features[1:] != features[:-1]).any(1).nonzero().flatten().add(1).tolist() == changes[1:]


def test_slow_changes_add_up_to_a_new_frame():
    frames = np.zeros((30, 32, 32, 3), np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None, None]
    new = StaticFrames(4.0).are_new(frames)
    assert np.flatnonzero(new).tolist() == list(range(0, 30, 5))
    assert StaticFrames(0.0).are_new(np.zeros((3, 8, 8, 3), np.uint8)).tolist() == [True, False, False]
