"""Describing images in words from Python."""

import os
from pathlib import Path
from typing import NoReturn

from pipeline.captioning.describe import Caption, CaptionModel, caption_images, load_caption_model, plan_search
from pipeline.errors import InputError

__all__ = ["Caption", "Captioner", "load_captioner"]


class Captioner:
    """A trained captioner; `load_captioner` makes it."""

    def __init__(self, model: CaptionModel) -> None:
        self._model = model

    def describe(
        self, path: str | os.PathLike[str], *, captions: int = 1, beam: int | None = None, prefix: str = ""
    ) -> list[Caption]:
        """Describe an image.

        Args:
            path: An image file.
            captions: How many captions to return.
            beam: The width of the beam search; None takes the captioner's own, or more where more captions are asked.
            prefix: Words that each caption begins with.

        Returns:
            The captions with their probabilities, the best first: that of the largest log-probability, divided by a
                power of the length so that long captions have a chance (`captioner.decoding.length_penalty`).

        Raises:
            InputError: The image cannot be read, or the search is not possible.

        Example:
            >>> import framescribe
            >>> captioner = framescribe.load_captioner("models/captioner")
            >>> first, second = captioner.describe("photo.jpg", captions=2)
            >>> 0 <= first.probability <= 1
            True
        """
        search = plan_search(self._model, beam_size=beam, num_captions=captions, prefix=prefix)
        ((_, described),) = caption_images([Path(path)], self._model, search, on_failure=_raise)
        return described


def load_captioner(location: str | os.PathLike[str], *, device: str = "auto") -> Captioner:
    """Load a trained captioner.

    Args:
        location: A checkpoint folder, or an MLflow URI (`models:/name/1`, `runs:/<id>/captioner`).
        device: "cpu", "cuda", or "auto", which takes CUDA where there is a device.

    Returns:
        The captioner; its method `describe` takes an image.

    Raises:
        InputError: There is no such model, or the device is absent.

    Example:
        >>> import framescribe
        >>> captioner = framescribe.load_captioner("models/captioner", device="cpu")
    """
    return Captioner(load_caption_model(os.fspath(location), device=device))


def _raise(message: str) -> NoReturn:
    raise InputError(message)
