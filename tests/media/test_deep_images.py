"""Color and transparency of 16 bits per value: read as stored, and written alike."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from sepcli.errors import InputError
from sepcli.media.deep_images import oriented
from sepcli.media.icc import apply_profile
from sepcli.media.image_writer import write_images
from sepcli.media.images import RasterImage, read_image

HEIGHT, WIDTH = 37, 53
COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def values(channels: int) -> np.ndarray:
    """Smooth values (H, W, C) with all 16 bits in use."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    planes = [x / WIDTH, y / HEIGHT, (x + y) / (WIDTH + HEIGHT), np.abs(np.sin(x / 5)) * 0.9 + 0.1][:channels]
    smooth = np.stack(planes, -1) * 65535
    return smooth.astype(np.uint16) ^ np.random.default_rng(0).integers(
        0, 256, (HEIGHT, WIDTH, channels), np.uint16
    )


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(data: np.ndarray, extra: bytes = b"") -> bytes:
    height, width, channels = data.shape
    header = struct.pack(">IIBBBBB", width, height, 16, COLOR_TYPES[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in data)
    parts = chunk(b"IHDR", header), extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(data: np.ndarray, extra: dict[int, object] | None = None, packed: bytes | None = None) -> bytes:
    """A TIFF file of one strip."""
    body = data.astype("<u2").tobytes() if packed is None else packed
    tags = ImageFileDirectory_v2()
    channels = data.shape[2]
    entries = {256: data.shape[1], 257: data.shape[0], 258: (16,) * channels, 259: 1, 262: 2, 277: channels}
    entries |= {273: 0, 278: data.shape[0], 279: len(body)} | (extra or {})
    for tag, value in entries.items():
        if 322 not in entries or tag not in (273, 278, 279):  # tiles take the place of strips
            tags[tag] = value
    file = io.BytesIO()
    tags.save(file)
    return file.getvalue() + body


def stored(raster: RasterImage) -> np.ndarray:
    return np.moveaxis(np.rint(raster.pixels.astype(float) * 65535), 0, -1)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_png_is_read_with_all_bits(tmp_path: Path, channels: int) -> None:
    data = values(channels)
    (tmp_path / "a.png").write_bytes(png(data))
    raster = read_image(tmp_path / "a.png")
    assert (raster.bits, raster.notes) == (16, ())
    np.testing.assert_array_equal(stored(raster), data[..., : 1 if channels < 3 else 3])
    if channels in (2, 4):
        np.testing.assert_array_equal(raster.alpha, data[..., -1])
        np.testing.assert_allclose(raster.opacity, data[..., -1] / 65535, atol=1e-7)


def test_a_transparent_color_has_all_bits(tmp_path: Path) -> None:
    data = values(3)
    data[3, 4], data[3, 5] = (256, 512, 768), (256, 512, 769)
    (tmp_path / "a.png").write_bytes(png(data, chunk(b"tRNS", struct.pack(">HHH", 256, 512, 768))))
    raster = read_image(tmp_path / "a.png")
    np.testing.assert_array_equal(stored(raster), data)
    assert raster.alpha is not None
    assert np.argwhere(raster.alpha == 0).tolist() == [[3, 4]]


DEFLATED = zlib.compress(values(3).astype("<u2").tobytes())
TIFFS = {
    "plain": (3, {}, None),
    "deflated": (3, {259: 8}, DEFLATED),
    "with opacity": (4, {338: 2}, None),
    "with a channel of no meaning": (4, {338: 0}, None),
    "in planes": (
        3,
        {284: 2, 273: (0, 2 * HEIGHT * WIDTH, 4 * HEIGHT * WIDTH), 279: (2 * HEIGHT * WIDTH,) * 3},
        None,
    ),
}


@pytest.mark.parametrize("kind", TIFFS)
def test_tiff_is_read_with_all_bits(tmp_path: Path, kind: str) -> None:
    channels, extra, packed = TIFFS[kind]
    data = values(channels)
    planes = np.moveaxis(data, -1, 0).astype("<u2").tobytes()
    (tmp_path / "a.tif").write_bytes(tiff(data, extra, planes if kind == "in planes" else packed))
    raster = read_image(tmp_path / "a.tif")
    assert (raster.bits, raster.notes) == (16, ())
    np.testing.assert_array_equal(stored(raster), data[..., :3])
    if kind == "with opacity":
        np.testing.assert_array_equal(raster.alpha, data[..., 3])
    else:
        assert raster.alpha is None


def tiles(data: np.ndarray, planes: bool) -> bytes:
    padded = np.zeros((48, 64, 3), np.uint16)
    padded[:HEIGHT, :WIDTH] = data
    parts = padded.reshape(3, 16, 4, 16, 3).swapaxes(1, 2).reshape(12, 16, 16, 3)
    if planes:
        parts = np.moveaxis(parts, -1, 0)
    return parts.astype("<u2").tobytes()


def big_tiff(data: np.ndarray) -> bytes:
    """A BigTIFF file of one strip, with positions of 64 bits (Adobe's and Aware Systems' extension)."""
    body, (height, width, channels) = data.astype("<u2").tobytes(), data.shape
    numbers = {256: [width], 257: [height], 258: [16] * channels, 259: [1], 262: [2], 277: [channels]}
    start = 16 + 8 + 20 * 9 + 8
    rows = [(tag, 3, struct.pack(f"<{len(value)}H", *value)) for tag, value in numbers.items()]
    rows[5:5] = [(273, 16, struct.pack("<Q", start))]
    rows += [(278, 3, struct.pack("<H", height)), (279, 16, struct.pack("<Q", len(body)))]
    entries = b"".join(
        struct.pack("<HHQ8s", tag, kind, len(value) // (8 if kind == 16 else 2), value)
        for tag, kind, value in rows
    )
    return b"II" + struct.pack("<HHHQQ", 43, 8, 0, 16, len(rows)) + entries + bytes(8) + body


def test_a_large_tiff_is_read_with_a_note(tmp_path: Path) -> None:
    data = values(3)
    (tmp_path / "a.tif").write_bytes(big_tiff(data))
    raster = read_image(tmp_path / "a.tif")
    assert raster.bits == 8
    assert raster.notes
    assert np.abs(np.moveaxis(raster.pixels, 0, -1) - data / 65535).max() < 1 / 255


@pytest.mark.parametrize("planes", [False, True])
def test_tiles_are_not_read_wrongly(tmp_path: Path, planes: bool) -> None:
    data, count, size = values(3), 36 if planes else 12, 512 if planes else 1536
    extra = {322: 16, 323: 16, 324: tuple(size * n for n in range(count)), 325: (size,) * count}
    raw = tiff(data, extra | {284: 2 if planes else 1}, tiles(data, planes))
    start = len(raw) - size * count  # Pillow adds the size of its tags to the positions of strips only
    raw = tiff(
        data,
        extra | {324: tuple(start + size * n for n in range(count)), 284: 2 if planes else 1},
        tiles(data, planes),
    )
    (tmp_path / "a.tif").write_bytes(raw)
    if planes:  # neither Pillow nor FFmpeg reads them
        with pytest.raises(InputError, match=r"a\.tif has planes"):
            read_image(tmp_path / "a.tif")
        return
    raster = read_image(tmp_path / "a.tif")
    assert raster.bits == 8
    assert raster.notes
    assert np.abs(np.moveaxis(raster.pixels, 0, -1) - data / 65535).max() < 1 / 255


@pytest.mark.parametrize("most", [1023, 65535])
def test_ppm_is_read_with_all_bits(tmp_path: Path, most: int) -> None:
    data = (values(3) / 65535 * most).astype(np.uint16)
    (tmp_path / "a.ppm").write_bytes(b"P6 %d %d %d\n" % (WIDTH, HEIGHT, most) + data.astype(">u2").tobytes())
    raster = read_image(tmp_path / "a.ppm")
    assert raster.bits == 16
    np.testing.assert_allclose(np.moveaxis(raster.pixels, 0, -1), data / most, atol=1 / 65535)


@pytest.mark.parametrize("form", ["png", "tif"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_the_orientation_is_that_of_pillow(tmp_path: Path, turn: int, form: str) -> None:
    data = values(3)
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / f"a.{form}"
    path.write_bytes(
        tiff(data, {274: turn})
        if form == "tif"
        else png(data, chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    )
    raster = read_image(path)
    assert raster.bits == 16
    np.testing.assert_array_equal(stored(raster), oriented(data, turn))
    write_images([(tmp_path / f"b.{form}", raster)])
    np.testing.assert_array_equal(read_image(tmp_path / f"b.{form}").pixels, raster.pixels)
    np.testing.assert_array_equal(
        oriented(data, turn).shape[:2], (WIDTH, HEIGHT) if turn > 4 else data.shape[:2]
    )


@pytest.mark.parametrize("form", ["png", "tiff"])
@pytest.mark.parametrize("channels", [3, 4])
def test_what_is_written_is_read_again(tmp_path: Path, form: str, channels: int) -> None:
    exif = Image.Exif()
    exif[0x010F], exif[0x8769] = "Maker", {0x9003: "2024:01:02 03:04:05"}
    (tmp_path / "a.png").write_bytes(png(values(channels)))
    raster = replace(read_image(tmp_path / "a.png"), dpi=(300.0, 240.0), exif=exif.tobytes())
    path = tmp_path / f"b.{form}"
    write_images([(path, raster)])
    again = read_image(path)
    np.testing.assert_array_equal(again.pixels, raster.pixels)
    assert np.array_equal(again.alpha, raster.alpha) if channels == 4 else again.alpha is None
    assert (again.bits, again.notes) == (16, ())
    assert again.dpi == pytest.approx((300, 240), abs=0.1)
    with Image.open(path) as image:
        assert image.getexif()[0x010F] == "Maker"
        assert image.getexif().get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"
        assert np.abs(np.asarray(image)[..., :3] - (values(channels)[..., :3] >> 8).astype(int)).max() <= 1
    first = path.read_bytes()
    write_images([(path, raster)], overwrite=True)
    assert path.read_bytes() == first


def test_deep_opacity_is_rounded_for_eight_bits(tmp_path: Path) -> None:
    alpha = np.array([[0, 128, 129, 65535]], np.uint16)
    raster = RasterImage(np.zeros((3, 1, 4), np.float32), alpha, bits=8)
    write_images([(tmp_path / "a.png", raster)])
    assert read_image(tmp_path / "a.png").alpha.tolist() == [[0, 0, 1, 255]]


def srgb(light: np.ndarray) -> np.ndarray:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def test_the_gamma_of_png_is_applied_to_all_bits(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(values(3), chunk(b"gAMA", struct.pack(">I", 100_000))))
    raster = read_image(tmp_path / "a.png")
    expected = (values(3) / 65535) ** (1 / 2.2)
    np.testing.assert_allclose(np.moveaxis(raster.pixels, 0, -1), expected, atol=1e-5)


ADOBE = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
"""Colorants of Adobe RGB (1998), adapted to D50."""
SRGB_PARAMETERS = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def curve_of(kind: str) -> bytes:
    if kind == "linear":
        return b"curv" + bytes(8)
    if kind == "gamma":
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(563 / 256 * 256)) + bytes(2)
    if kind == "table":
        table = np.rint(np.linspace(0, 1, 1025) ** 1.8 * 65535).astype(">u2")
        return b"curv" + bytes(4) + struct.pack(">I", 1025) + table.tobytes() + bytes(2)
    return b"para" + bytes(4) + struct.pack(">HH", 3, 0) + fixed(*SRGB_PARAMETERS)


def profile(kind: str, space: bytes = b"RGB ", colorants: tuple[tuple[float, ...], ...] = ADOBE) -> bytes:
    """An ICC profile of curves and a matrix (ICC.1:2001), by hand."""
    names = [b"rTRC", b"gTRC", b"bTRC"] if space == b"RGB " else [b"kTRC"]
    parts = {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)} | {
        name: curve_of(kind) for name in names
    }
    if space == b"RGB ":
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), colorants, strict=True):
            parts[name] = b"XYZ " + bytes(4) + fixed(*column)
    parts |= {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(79),
        b"cprt": b"text" + bytes(4) + b"none",
    }
    table, body, start = b"", b"", 132 + 12 * len(parts)
    for name, data in parts.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02400000, b"mntr", space, b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + fixed(0.9642, 1, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + body


def with_profile(path: Path, data: np.ndarray, icc: bytes) -> Path:
    path.write_bytes(png(data, chunk(b"iCCP", b"x\0\0" + zlib.compress(icc))))
    return path


@pytest.mark.parametrize("kind", ["linear", "gamma", "table", "parametric"])
def test_a_profile_is_applied_to_all_bits(tmp_path: Path, kind: str) -> None:
    """The reference is lcms, in 8 bits."""
    data, icc = values(3), profile(kind)
    raster = read_image(with_profile(tmp_path / "a.png", data, icc))
    assert (raster.bits, raster.notes) == (16, ())
    eight = Image.fromarray(np.rint(data / 257).astype(np.uint8))
    exact = apply_profile(np.moveaxis(np.asarray(eight) / np.float32(255), -1, 0), icc)
    assert exact is not None
    reference = ImageCms.profileToProfile(
        eight, ImageCms.ImageCmsProfile(io.BytesIO(icc)), ImageCms.createProfile("sRGB")
    )
    # in the dark, where sRGB is steepest, lcms rounds linear light
    close = np.abs(np.moveaxis(exact, 0, -1) * 255 - np.asarray(reference))
    assert close.max() < (3 if kind == "linear" else 1.6)
    assert np.median(close) < 0.5
    assert len(np.unique(np.rint(raster.pixels * 65535))) > 3000


def test_a_profile_with_the_colorants_and_curve_of_srgb_changes_little(tmp_path: Path) -> None:
    own = ImageCms.createProfile("sRGB")
    colorants = tuple(one[0] for one in (own.red_colorant, own.green_colorant, own.blue_colorant))
    raster = read_image(
        with_profile(tmp_path / "a.png", values(3), profile("parametric", colorants=colorants))
    )
    np.testing.assert_allclose(np.moveaxis(raster.pixels, 0, -1), values(3) / 65535, atol=3e-4)


def test_a_profile_that_is_srgb_by_name_changes_nothing(tmp_path: Path) -> None:
    icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    raster = read_image(with_profile(tmp_path / "a.png", values(4), icc))
    np.testing.assert_array_equal(stored(raster), values(4)[..., :3])


@pytest.mark.parametrize("channels", [1, 2])
def test_a_gray_profile_is_applied_to_all_bits(tmp_path: Path, channels: int) -> None:
    data = values(channels)
    raster = read_image(with_profile(tmp_path / "a.png", data, profile("linear", b"GRAY")))
    assert raster.notes == ()
    np.testing.assert_allclose(raster.pixels[0], srgb(data[..., 0] / 65535), atol=1e-5)


@pytest.mark.parametrize("damage", ["cut", "curve", "tables", "other colors"])
def test_other_profiles_are_left_to_pillow(tmp_path: Path, damage: str) -> None:
    icc = profile("gamma", b"GRAY") if damage == "other colors" else profile("gamma")
    if damage == "cut":
        icc = icc[:200]
    elif damage == "curve":
        icc = icc.replace(b"curv", b"none")
    elif damage == "tables":
        icc = icc.replace(b"cprt", b"A2B0")
    assert apply_profile(np.zeros((3, 4, 4), np.float32), icc) is None
    raster = read_image(with_profile(tmp_path / "a.png", values(3), icc))
    assert raster.notes


def test_a_damaged_file_is_refused_as_such(tmp_path: Path) -> None:
    data = png(values(3))
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(InputError, match=r"a\.png"):
        read_image(tmp_path / "a.png")
