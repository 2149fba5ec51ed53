"""An encoder with the normalization of its frames, as one network: what runtimes export and capture.

n frames, h x w pixels, F features.
"""

from collections.abc import Callable

from torch import Tensor, nn


class PixelEncoder(nn.Module):
    """Frames uint8 [n, h, w, 3] of the encoder's size -> features float32 [n, F].

    Args:
        encode: images [n, 3, h, w] -> features float32 [n, F].
        normalize: frames uint8 [n, h, w, 3] -> images float32 [n, 3, h, w], as `Preprocess.normalize`.
    """

    def __init__(self, encode: nn.Module, normalize: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.encode, self.normalize = encode, normalize

    def forward(self, pixels: Tensor) -> Tensor:
        """See the class."""
        return self.encode(self.normalize(pixels))
