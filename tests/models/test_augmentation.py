"""The augmentation of frames, on pixels that contain their own position."""

import pytest
import torch
from torch import Tensor

from pipeline.models.augmentation import Augmentation


def places(num_windows: int = 40, num_frames: int = 3) -> Tensor:
    """[B, T, 3, 10, 20]: the row, the column and the frame of each pixel."""
    frame, row, column = torch.meshgrid(*(torch.arange(n).float() for n in (num_frames, 10, 20)), indexing="ij")
    return torch.stack([row, column, frame], dim=1).expand(num_windows, -1, -1, -1, -1)


def test_augmentation_without_strength_changes_nothing() -> None:
    assert torch.equal(Augmentation()(places()), places())


def test_a_window_is_shifted_as_a_whole_and_its_edge_is_repeated() -> None:
    torch.manual_seed(0)
    seen = set()
    for window in Augmentation(shift=0.2)(places()):
        down, right = (round(places()[0, 0, axis, 5, 9].item() - window[0, axis, 5, 9].item()) for axis in (0, 1))
        rows = (torch.arange(10) - down).clamp(0, 9)
        columns = (torch.arange(20) - right).clamp(0, 19)
        assert torch.equal(window, places()[0][:, :, rows][..., columns])
        seen.add((down, right))
    assert {abs(down) for down, _ in seen} == {0, 1, 2}
    assert {right for _, right in seen} >= {-3, 0, 3}
    assert max(abs(right) for _, right in seen) <= 4


def test_half_of_the_windows_are_mirrored() -> None:
    torch.manual_seed(0)
    frames = places(200)
    changed = Augmentation(mirror=True)(frames)
    mirrored = [torch.equal(window, frames[0].flip(3)) for window in changed]
    assert all(done or torch.equal(window, frames[0]) for done, window in zip(mirrored, changed, strict=True))
    assert sum(mirrored) == pytest.approx(100, abs=25)


def test_contrast_and_brightness_change_for_the_whole_window() -> None:
    torch.manual_seed(0)
    frames = places(200)
    scales = Augmentation(contrast=0.3)(frames)[:, :, 1, :, 1:] / frames[:, :, 1, :, 1:]
    offsets = Augmentation(brightness=0.5)(frames) - frames
    for found, middle, largest in ((scales, 1.0, 0.3), (offsets, 0.0, 0.5)):
        of_window = found.flatten(1)
        torch.testing.assert_close(of_window, of_window[:, :1].expand_as(of_window), rtol=0, atol=1e-5)
        assert (of_window - middle).abs().max() <= largest + 1e-5
        assert of_window[:, 0].std().item() == pytest.approx(largest / 3**0.5, rel=0.15)
