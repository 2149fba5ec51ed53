import numpy as np
import pytest
import torch
from made_models import write_video

from pipeline.checkpoint import load_checkpoint
from pipeline.encode import choose_device, encode_video
from pipeline.errors import InputError
from pipeline.video.preprocess import Preprocess
from pipeline.video.reader import open_video


@pytest.fixture(scope="module")
def frames(video_model):
    return load_checkpoint(video_model, device=torch.device("cpu")).frames


@pytest.mark.parametrize("batch_size", [1, 7, 20, 50])
def test_features_are_the_encoders_of_every_frame_in_batches_of_any_size(frames, tmp_path, batch_size):
    path = write_video(tmp_path / "clip.mp4", num_frames=20)
    with open_video(path) as reader:
        chunks = list(encode_video(reader, frames.encoder, frames.preprocess, batch_size=batch_size))
    assert [len(chunk.features) for chunk in chunks[:-1]] == [batch_size] * (len(chunks) - 1)
    with open_video(path) as reader:
        (whole,) = reader.read(batch_size=20)
    with torch.no_grad():
        expected = frames.encoder(frames.preprocess(whole.pixels))
    torch.testing.assert_close(torch.cat([chunk.features for chunk in chunks]), expected, atol=1e-4, rtol=1e-4)
    np.testing.assert_array_equal(np.concatenate([chunk.pts_seconds for chunk in chunks]), whole.pts_seconds)


def test_a_video_smaller_than_the_region_of_interest_is_named_before_it_is_decoded(frames, tmp_path):
    path = write_video(tmp_path / "small.mp4", num_frames=3, size=(64, 48))
    preprocess = Preprocess(size=(32, 32), crop=(10, 0, 64, 48))
    with open_video(path) as reader, pytest.raises(InputError) as refused:
        next(encode_video(reader, frames.encoder, preprocess, batch_size=8))
    assert str(refused.value).startswith(f"{path}: crop (x, y, width, height) = (10, 0, 64, 48) in pixels")
    assert "64 wide and 48 high" in str(refused.value)


def test_cuda_is_taken_only_where_there_is_one(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    with pytest.raises(InputError, match="device cuda was asked for"):
        choose_device("cuda")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")
