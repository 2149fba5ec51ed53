"""Every kind of image file gives its visible pixels, and all other files are refused with a message."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.errors import InputError
from pipeline.video.image import IMAGE_SUFFIXES, read_image

HEIGHT, WIDTH = 12, 20
ORIENTATION, X_RESOLUTION, RATIONAL = 0x0112, 0x011A, 5  # tags and a type of TIFF, the format of EXIF
COLOR = (200, 40, 90)


def smooth_image() -> Image.Image:
    """An image with four different corners, so smooth that JPEG keeps it to a few grey levels."""
    rows, columns = np.mgrid[0 : 1 : HEIGHT * 1j, 0 : 1 : WIDTH * 1j]
    pixels = np.stack([230 * rows, 200 * columns, 120 + 100 * rows * columns], axis=-1)
    return Image.fromarray(pixels.astype(np.uint8))


SMOOTH = np.asarray(smooth_image())


def saved(folder: Path, image: Image.Image, suffix: str, **options: object) -> Path:
    path = folder / f"image{suffix}"
    image.save(path, **options)
    return path


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def png(width: int, height: int, *, bit_depth: int, color_type: int, samples: bytes) -> bytes:
    """A PNG without filters, written by the specification, since Pillow writes no 16-bit colour."""
    header = struct.pack(">IIBBBBB", width, height, bit_depth, color_type, 0, 0, 0)
    stride = len(samples) // height
    rows = b"".join(b"\0" + samples[start : start + stride] for start in range(0, len(samples), stride))
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        for name, content in chunks
    )


# Pixels


@pytest.mark.parametrize(
    ("suffix", "options", "tolerance"),
    [
        (".jpg", {"quality": 98, "subsampling": 0}, 4),
        (".jpeg", {"quality": 98, "subsampling": 0, "progressive": True}, 4),
        (".png", {}, 0),
        (".bmp", {}, 0),
        (".ppm", {}, 0),
        (".tif", {}, 0),
        (".tiff", {"compression": "tiff_lzw"}, 0),
        (".webp", {"lossless": True}, 0),
    ],
)
def test_written_colours_are_read_back(tmp_path: Path, suffix: str, options: dict[str, object], tolerance: int) -> None:
    pixels = read_image(saved(tmp_path, smooth_image(), suffix, **options))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (HEIGHT, WIDTH, 3))
    assert pixels.flags.writeable  # torch.from_numpy requires it
    np.testing.assert_allclose(pixels.astype(int), SMOOTH.astype(int), atol=tolerance)
    assert suffix in IMAGE_SUFFIXES


def test_the_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    path = saved(tmp_path, smooth_image(), ".png").rename(tmp_path / "image.jpg")
    np.testing.assert_array_equal(read_image(path), SMOOTH)


def test_cmyk_and_ycck_become_rgb(tmp_path: Path) -> None:
    """Files of Adobe store all inks inverted. YCCK stores the first three as YCbCr of the colour 255 - ink."""
    ink_levels = tuple(255 - channel for channel in COLOR)
    inks = Image.new("CMYK", (16, 16), (*ink_levels, 0))
    assert np.abs(read_image(saved(tmp_path, inks, ".tif")) - np.array(COLOR)).max() <= 1
    path = saved(tmp_path, inks, ".jpg", quality=98)
    assert np.abs(read_image(path) - np.array(COLOR)).max() <= 3

    luma_chroma = Image.new("RGB", (1, 1), ink_levels).convert("YCbCr").getpixel((0, 0))
    stored = Image.new("CMYK", (16, 16), (*(255 - value for value in luma_chroma), 0))
    content = saved(tmp_path, stored, ".jpg", quality=98).read_bytes()
    transform = content.index(b"Adobe") + 11
    assert content[transform] == 0
    path.write_bytes(content[:transform] + b"\x02" + content[transform + 1 :])
    assert np.abs(read_image(path) - np.array(COLOR)).max() <= 3


def test_grey_one_bit_and_palette_images_are_read(tmp_path: Path) -> None:
    grey = smooth_image().convert("L")
    np.testing.assert_array_equal(read_image(saved(tmp_path, grey, ".png")), np.stack([np.asarray(grey)] * 3, -1))
    bits = grey.convert("1")
    expected = np.stack([255 * np.asarray(bits, dtype=np.uint8)] * 3, -1)
    for suffix in (".png", ".tif", ".bmp", ".pbm"):
        np.testing.assert_array_equal(read_image(saved(tmp_path, bits, suffix)), expected)
    palette = smooth_image().quantize(16)
    for suffix in (".png", ".gif", ".bmp", ".tif"):
        np.testing.assert_array_equal(
            read_image(saved(tmp_path, palette, suffix)), np.asarray(palette.convert("RGB")), err_msg=suffix
        )


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bits_of_grey_are_scaled_and_not_clipped(tmp_path: Path, suffix: str) -> None:
    samples = np.array([[0, 128, 129, 255], [256, 32768, 65407, 65535]], dtype=np.uint16)
    pixels = read_image(saved(tmp_path, Image.fromarray(samples), suffix))
    np.testing.assert_array_equal(pixels[..., 0], np.rint(samples / 257))
    assert (pixels == pixels[..., :1]).all()


def test_integers_of_32_bits_are_scaled_like_those_of_16_bits(tmp_path: Path) -> None:
    samples = np.array([[0, 65535], [32768, 300]], dtype=np.int32)
    pixels = read_image(saved(tmp_path, Image.fromarray(samples), ".tif"))
    assert pixels[..., 0].tolist() == [[0, 255], [128, 1]]
    for wrong in (-1, 65536):
        samples[0, 0] = wrong
        with pytest.raises(InputError, match=rf"image\.tif: holds integers .*{wrong}.*expected 0 to 65535"):
            read_image(saved(tmp_path, Image.fromarray(samples), ".tif"))


def test_sixteen_bit_colour_and_grey_with_alpha_are_read(tmp_path: Path) -> None:
    levels = np.array([[0, 255, 256], [65535, 32768, 4660]], dtype=">u2")
    content = png(2, 1, bit_depth=16, color_type=2, samples=levels.tobytes())
    pixels = read_image(written(tmp_path / "colour.png", content))
    assert np.abs(pixels[0] - levels.astype(int) / 257).max() <= 1
    grey_alpha = np.array([[20000, 65535], [20000, 0]], dtype=">u2")
    content = png(2, 1, bit_depth=16, color_type=4, samples=grey_alpha.tobytes())
    assert read_image(written(tmp_path / "alpha.png", content)).tolist() == [[[78] * 3, [255] * 3]]


def test_transparent_pixels_become_white(tmp_path: Path) -> None:
    pixels = np.array([[(*COLOR, 255), (*COLOR, 0), (*COLOR, 128)]], dtype=np.uint8)
    blended = np.rint(np.array(COLOR) * 128 / 255 + 127)
    for suffix, options in ((".png", {}), (".tif", {}), (".webp", {"lossless": True, "exact": True})):
        opaque, clear, half = read_image(saved(tmp_path, Image.fromarray(pixels), suffix, **options))[0]
        assert (opaque.tolist(), clear.tolist()) == (list(COLOR), [255, 255, 255])
        assert np.abs(half - blended).max() <= 1
    grey = np.array([[(70, 255), (70, 0)]], dtype=np.uint8)
    assert read_image(saved(tmp_path, Image.fromarray(grey, "LA"), ".png"))[0, :, 0].tolist() == [70, 255]


def test_a_transparent_colour_becomes_white(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, *COLOR])
    palette.putpixel((1, 0), 1)
    for suffix in (".png", ".gif"):
        assert read_image(saved(tmp_path, palette, suffix, transparency=0)).tolist() == [[[255] * 3, [*COLOR]]]
    for samples, clear in ((np.uint8([[7, 90]]), 7), (np.uint16([[7, 90 * 257]]), 7)):
        path = saved(tmp_path, Image.fromarray(samples), ".png", transparency=clear)
        assert read_image(path)[0, :, 0].tolist() == [255, 90]
    path = saved(tmp_path, Image.new("RGB", (1, 1), COLOR), ".png", transparency=COLOR)
    assert read_image(path).tolist() == [[[255, 255, 255]]]


# The visible pixels per orientation. EXIF 2.3 says on which side row 0 and column 0 of the stored pixels appear.
SEEN: dict[int, Callable[[np.ndarray], np.ndarray]] = {
    1: lambda stored: stored,  # top, left
    2: lambda stored: stored[:, ::-1],  # top, right
    3: lambda stored: stored[::-1, ::-1],  # bottom, right
    4: lambda stored: stored[::-1],  # bottom, left
    5: lambda stored: stored.swapaxes(0, 1),  # left, top
    6: lambda stored: stored.swapaxes(0, 1)[:, ::-1],  # right, top
    7: lambda stored: stored.swapaxes(0, 1)[::-1, ::-1],  # right, bottom
    8: lambda stored: stored.swapaxes(0, 1)[::-1],  # left, bottom
    9: lambda stored: stored,  # has no meaning
}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
@pytest.mark.parametrize("suffix", [".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", SEEN)
def test_the_exif_orientation_is_applied_once(tmp_path: Path, suffix: str, orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    options = {"lossless": True} if suffix == ".webp" else {}
    image = smooth_image().convert(mode)
    path = saved(tmp_path, image, suffix, exif=exif, **options)
    np.testing.assert_array_equal(read_image(path), SEEN[orientation](np.asarray(image.convert("RGB"))))


@pytest.mark.parametrize("kind", range(1, 13))
def test_damage_to_other_tags_does_not_matter(tmp_path: Path, kind: int) -> None:
    """The resolution has another type than in TIFF: `ImageOps.exif_transpose` fails for some such files."""
    exif = Image.Exif()
    exif[ORIENTATION], exif[X_RESOLUTION] = 6, 72.0
    head, entry, rest = exif.tobytes().partition(struct.pack(">HH", X_RESOLUTION, RATIONAL))
    assert entry
    damaged = head + struct.pack(">HH", X_RESOLUTION, kind) + rest
    path = saved(tmp_path, smooth_image(), ".png", exif=damaged)
    np.testing.assert_array_equal(read_image(path), SEEN[6](SMOOTH))


def test_an_image_of_a_camera_held_upright_is_rotated(tmp_path: Path) -> None:
    """Orientation 6 by the text of EXIF 2.3: row 0 of the stored pixels is the right side of the visible image."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    path = saved(tmp_path, smooth_image(), ".jpg", exif=exif, quality=98, subsampling=0)
    np.testing.assert_allclose(read_image(path)[:, -1].astype(int), SMOOTH[0].astype(int), atol=4)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png", ".apng", ".tif"])
def test_the_first_frame_of_an_animation_is_read(tmp_path: Path, suffix: str) -> None:
    first, second = (Image.new("RGB", (8, 8), color) for color in (COLOR, (0, 255, 0)))
    options = {"lossless": True} if suffix == ".webp" else {}
    options |= {"format": "PNG"} if suffix == ".apng" else {}
    path = saved(tmp_path, first, suffix, save_all=True, append_images=[second], **options)
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert (read_image(path) == COLOR).all()


# Refused files


def test_missing_files_folders_empty_files_and_other_files_have_different_errors(tmp_path: Path) -> None:
    for path, cause in (
        (tmp_path / "missing.jpg", "no such file"),
        (tmp_path, "is a folder"),
        (written(tmp_path / "empty.png", b""), "is empty"),
        (written(tmp_path / "words.png", b"These are words, not pixels.\n" * 40), "is not an image"),
        (written(tmp_path / "program.eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"), "is not an image"),
        (written(tmp_path / "nothing.png", png(0, 1, bit_depth=8, color_type=2, samples=b"\0")), "is not an image"),
        (tmp_path / ("long" * 100 + ".png"), "cannot read or write"),
    ):
        with pytest.raises(InputError, match=cause) as caught:
            read_image(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".webp", ".tif", ".bmp", ".ppm"])
def test_an_image_cut_in_half_is_refused(tmp_path: Path, suffix: str) -> None:
    path = saved(tmp_path, smooth_image(), suffix)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=rf"image\{suffix}: .*(damaged|cut short)"):
        read_image(path)


def test_floating_point_is_refused_by_name(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.float32([[0.0, 0.5]])), ".tif")
    with pytest.raises(InputError, match=r"image\.tif: holds floating point"):
        read_image(path)


@pytest.mark.parametrize("limit", [HEIGHT * WIDTH - 1, HEIGHT * WIDTH // 2 - 1])
def test_more_pixels_than_the_limit_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    """Pillow warns above its limit and raises an error above twice the limit."""
    path = saved(tmp_path, smooth_image(), ".png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with pytest.raises(InputError, match=rf"image\.png: more than {limit} pixels"):
        read_image(path)


def jpeg_with_exif() -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION], exif[0x010F] = 6, "Camera"
    return encoded("JPEG", exif=exif)


def encoded(kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    smooth_image().save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "make",
    [
        jpeg_with_exif,
        lambda: encoded("JPEG", progressive=True),
        lambda: encoded("PNG"),
        lambda: encoded("GIF"),
        lambda: encoded("WEBP"),
        lambda: encoded("WEBP", lossless=True),
        lambda: encoded("TIFF"),
        lambda: encoded("TIFF", compression="tiff_lzw"),
        lambda: encoded("TIFF", compression="jpeg"),
        lambda: encoded("BMP"),
        lambda: encoded("PPM"),
    ],
)
def test_a_damaged_image_gives_pixels_or_an_input_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder, make: Callable[[], bytes]
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100_000)  # a damaged header would need much memory
    rng = np.random.default_rng(0)
    whole = np.frombuffer(make(), dtype=np.uint8)
    path = tmp_path / "damaged.img"
    num_read = 0
    for trial in range(200):
        content = whole.copy()
        # Half of the flips hit the headers, which contain the sizes and offsets.
        reach = len(content) if trial % 2 else min(200, len(content))
        flips = rng.integers(reach, size=rng.integers(1, 4))
        content[flips] = rng.integers(256, size=len(flips))
        path.write_bytes(content[: rng.integers(1, len(content))] if trial % 5 == 0 else content)
        try:
            pixels = read_image(path)
        except InputError:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        num_read += 1
    assert 0 < num_read < 200
    assert not recwarn
