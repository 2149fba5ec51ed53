"""Image files, read with Pillow: the pixels are upright, RGB and of 8 bits, however they are stored.

Shapes: H x W pixels.
"""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from pipeline.errors import InputError, describe_os_error
from pipeline.files import describe_absence

IMAGE_SUFFIXES = frozenset(
    {".apng", ".bmp", ".gif", ".jfif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
# The other formats of Pillow are left out: they are rare, and one of them (EPS) executes the code in the file.
_FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM")

_WHITE = (255, 255, 255, 255)
_MAX_16_BITS = 65535


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read the pixels of an image file, rotated upright according to its EXIF tag.

    Transparent pixels are blended with white, an animation gives its first frame, and samples of 16 bits are scaled to
    8. The content of the file decides its format, and not its suffix.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        InputError: The file is missing, empty, cut short, damaged or not an image; its samples have no known white
            (floating point, integers beyond 16 bits); or it has so many pixels that its only purpose can be to fill
            the memory.
    """
    path = Path(path)
    _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            # An open file and not its name: Pillow maps a named file into memory, which scrambles a rotated TIFF.
            with path.open("rb") as file, Image.open(file, formats=_FORMATS) as image:
                return _upright_rgb(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        most = f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
        raise InputError(f"{path}: {most}, it is damaged or made to fill the memory; scale a true one down") from error
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except UnidentifiedImageError as error:
        kinds = ", ".join(_FORMATS)
        raise InputError(f"{path}: is not an image of a known kind ({kinds}), or its header is damaged") from error
    except Exception as error:  # for damage Pillow raises many types: OSError, SyntaxError, ValueError, struct.error...
        raise InputError(f"{path}: cannot be read as an image, it is damaged or cut short ({error})") from error


def _check_file(path: Path) -> None:
    if absence := describe_absence(path):
        raise InputError(f"{path}: {absence}")
    try:
        is_folder, size = path.is_dir(), path.stat().st_size
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file") from error
    except OSError as error:
        raise InputError(describe_os_error(error)) from error
    if is_folder:
        raise InputError(f"{path}: is a folder, expected an image file")
    if size == 0:
        raise InputError(f"{path}: is empty (0 bytes); the copy or the download failed")


def _upright_rgb(image: Image.Image) -> NDArray[np.uint8]:
    image.load()  # before the EXIF tags are read: Pillow rotates a TIFF when it loads it
    orientation = image.getexif().get(ExifTags.Base.Orientation)
    image = _in_rgb(image)
    # This is the only tag that stays: exif_transpose writes all other tags of a file again, which fails if they are
    # damaged in some way, although they do not matter.
    image.info.clear()
    image.getexif()[ExifTags.Base.Orientation] = orientation
    return np.array(ImageOps.exif_transpose(image))


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise InputError("holds floating point numbers, none of which is known to be white; convert it to 8 bits")
    if image.mode.startswith("I"):
        return _scale_to_8_bits(image).convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, _WHITE), image)
    return image.convert("RGB")


def _scale_to_8_bits(image: Image.Image) -> Image.Image:
    """Scale grey integers to mode L. Pillow itself clips them at 255 instead of scaling them."""
    samples = np.asarray(image).astype(np.int64)
    if samples.min() < 0 or samples.max() > _MAX_16_BITS:
        got = f"holds integers from {samples.min()} to {samples.max()}"
        raise InputError(f"{got}, expected 0 to {_MAX_16_BITS}; convert it to 8 bits")
    samples[samples == image.info.get("transparency")] = _MAX_16_BITS
    return Image.fromarray(np.rint(samples * (255 / _MAX_16_BITS)).astype(np.uint8))
