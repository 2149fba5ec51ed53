"""One colour for each class, the same in every picture: timelines, overlays, curves.

Shapes: K classes.
"""

import numpy as np

from pipeline.annotations.label_space import LabelSpace

# Ten colours of medium strength, so that each has lighter and darker shades.
PALETTE = ("4477aa", "ee9a3a", "2f9e77", "e05263", "8a63b5", "66b8dd", "b5a02c", "a8557f", "7b5b45", "77b254")
SHADES = (0.0, 0.4, -0.4, 0.68, -0.62, 0.2, -0.17)  # how far from the palette to white (above 0) or black
BACKGROUND = (227, 230, 234)


def class_colors(label_space: LabelSpace) -> np.ndarray:
    """Return the colours of the classes, uint8 [K, 3] RGB: those of `palette`, and pale grey for the background."""
    colors = palette(label_space.num_classes)
    if label_space.background_index is not None:
        colors[label_space.background_index] = BACKGROUND
    return colors


def palette(num_colors: int) -> np.ndarray:
    """Return colours, uint8 [num_colors, 3] RGB; the first ones do not depend on their number.

    After ten colours, the same colours follow in lighter and darker shades; up to 70 colours are all different.
    """
    colors = np.zeros((num_colors, 3))
    for index in range(num_colors):
        hue = np.frombuffer(bytes.fromhex(PALETTE[index % len(PALETTE)]), dtype=np.uint8)
        shade = SHADES[index // len(PALETTE) % len(SHADES)]
        target = 255 if shade > 0 else 0
        colors[index] = hue + (target - hue.astype(np.float64)) * abs(shade)
    return np.rint(colors).astype(np.uint8)
