"""Frames whose right half shows what moves, from real files."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from made_models import damage

from pipeline.errors import InputError
from pipeline.video.decoder_process import DecoderProcesses
from pipeline.video.open import open_scaled
from pipeline.video.region import Region
from pipeline.video.writer import VideoWriter

HEIGHT, WIDTH, NUM_FRAMES, SIDE = 120, 160, 60, 20
HALVES = Region(size=(48, 128), follow_motion=True)
WHOLE = Region(size=(48, 64))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A magenta square that crosses a textured ground."""
    ground = np.random.default_rng(0).integers(60, 190, (15, 20, 3), np.uint8).repeat(8, 0).repeat(8, 1)
    with VideoWriter(tmp_path / "a.mp4", width=WIDTH, height=HEIGHT, frame_rate=Fraction(25)) as writer:
        for number in range(NUM_FRAMES):
            frame = ground.copy()
            frame[50 : 50 + SIDE, 2 * number : 2 * number + SIDE] = (255, 0, 255)
            writer.write(frame, number / 25)
    return tmp_path / "a.mp4"


def read(path: Path, region: Region = HALVES, **options) -> np.ndarray:
    with open_scaled(path, region, **options) as reader:
        return np.concatenate([batch.pixels for batch in reader.read(batch_size=16)])


def is_magenta(pixels: np.ndarray) -> np.ndarray:
    return (pixels[..., 0] > 180) & (pixels[..., 1] < 90) & (pixels[..., 2] > 180)


def test_the_left_half_is_the_whole_frame(path):
    halves, whole = read(path), read(path, WHOLE)
    assert halves.shape == (NUM_FRAMES, 48, 128, 3)
    assert np.abs(halves[:, :, :64].astype(int) - whole).mean() < 4  # scaled from RGB, not from luma and chroma


def test_the_right_half_shows_what_moves_larger(path):
    pixels = read(path)
    left, right = is_magenta(pixels[:, :, :64]), is_magenta(pixels[:, :, 64:])
    assert (right.sum((1, 2)) > 3 * left.sum((1, 2))).all()
    assert right[10:-10, 24, 32].all(), "it is in the middle, unless the frame ends there"


def test_ranges_and_positions_give_the_same_frames(path):
    whole = read(path)
    with open_scaled(path, HALVES) as reader:
        (batch,) = reader.read(20, 30, batch_size=16)
        assert np.array_equal(batch.pixels, whole[20:30])
        (batch,) = reader.read(positions=np.array([3, 40]), batch_size=16)
        assert np.array_equal(batch.pixels, whole[[3, 40]])
        assert reader.report().decoded_frames == NUM_FRAMES


def test_a_process_reads_the_same(path):
    with DecoderProcesses(1) as processes, processes.open_scaled(path, HALVES) as reader:
        found = np.concatenate([batch.pixels for batch in reader.read(batch_size=16)])
    assert np.array_equal(found, read(path))


@pytest.mark.parametrize("reader", ["decord", "opencv"])
def test_other_decoders_show_the_same_part(path, reader):
    difference = np.abs(read(path).astype(int) - read(path, reader=reader))
    assert difference.mean() < 6


def test_within_the_region_of_interest_only(path):
    region = Region(size=(48, 128), crop=(0.5, 0, 0.5, 1), crop_unit="fractions", follow_motion=True)
    pixels = read(path, region)
    assert not is_magenta(pixels[:10]).any(), "it is not in the right half of the frame yet"
    assert is_magenta(pixels[45:, :, 64:]).any((1, 2)).all()


def test_a_damaged_video_is_read_in_part(path):
    whole = read(path)
    damage(path)
    with open_scaled(path, HALVES, surveyed=True) as reader:
        pixels = np.concatenate([batch.pixels for batch in reader.read(batch_size=16)])
        assert len(pixels) == len(whole)
        assert 0 < reader.report().substituted_frames < NUM_FRAMES


def test_an_odd_width_is_refused():
    with pytest.raises(InputError, match="the width must be even to follow motion, got 65"):
        Region(size=(48, 65), follow_motion=True)
