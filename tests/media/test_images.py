"""Image files of every kind, whole and damaged; contact sheets."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from sepcli.errors import InputError, OutputError
from sepcli.media import MEDIA
from sepcli.media.contact_sheet import contact_grid, contact_sheet
from sepcli.media.folders import find_files
from sepcli.media.image_writer import write_images
from sepcli.media.images import RasterImage, as_channels, is_image, read_image

RAMP = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


def save(path: Path, data: np.ndarray, mode: str | None = None, **options: object) -> Path:
    image = Image.fromarray(data)
    (image.convert(mode) if mode else image).save(path, **options)
    return path


def test_gray_of_eight_bits(tmp_path: Path) -> None:
    raster = read_image(save(tmp_path / "a.png", RAMP))
    assert (raster.pixels.shape, raster.bits, raster.alpha) == ((1, 6, 8), 8, None)
    assert np.array_equal(np.rint(raster.pixels[0] * 255), RAMP)


def test_gray_of_sixteen_bits(tmp_path: Path) -> None:
    deep = (np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300).astype(np.uint16)
    raster = read_image(save(tmp_path / "a.png", deep))
    assert raster.bits == 16
    assert np.array_equal(np.rint(raster.pixels[0].astype(float) * 65535), deep)
    write_images([(tmp_path / "b.png", raster)])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), deep)


@pytest.mark.parametrize("mode", ["RGB", "P", "CMYK", "YCbCr"])
def test_color_and_palettes(tmp_path: Path, mode: str) -> None:
    rgb = np.stack([RAMP, RAMP[::-1], np.full_like(RAMP, 100)], axis=-1)
    suffix = ".tif" if mode in ("CMYK", "YCbCr") else ".png"
    raster = read_image(save(tmp_path / f"a{suffix}", rgb, mode))
    assert raster.pixels.shape == (3, 6, 8)
    if mode == "RGB":
        assert np.array_equal(np.rint(np.moveaxis(raster.pixels, 0, -1) * 255), rgb)


@pytest.mark.parametrize(("mode", "channels"), [("LA", 1), ("RGBA", 3)])
def test_transparency_is_kept_aside_and_given_back(tmp_path: Path, mode: str, channels: int) -> None:
    image = Image.fromarray(RAMP).convert(mode)
    image.putalpha(Image.fromarray(RAMP[::-1].copy()))
    image.save(tmp_path / "a.png")
    raster = read_image(tmp_path / "a.png")
    assert raster.pixels.shape[0] == channels
    assert np.array_equal(raster.alpha, RAMP[::-1])
    write_images([(tmp_path / "b.png", raster)])
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), np.asarray(image))


def test_one_bit_and_float(tmp_path: Path) -> None:
    assert set(np.unique(read_image(save(tmp_path / "a.png", RAMP, "1")).pixels)) <= {0.0, 1.0}
    save(tmp_path / "b.tif", (RAMP / 255).astype(np.float32))
    assert np.allclose(read_image(tmp_path / "b.tif").pixels[0], RAMP / 255)
    save(tmp_path / "c.tif", RAMP.astype(np.float32))
    with pytest.raises(InputError, match=r"c\.tif"):
        read_image(tmp_path / "c.tif")


def test_the_camera_s_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise
    save(tmp_path / "a.png", RAMP, exif=exif)
    raster = read_image(tmp_path / "a.png")
    assert np.array_equal(np.rint(raster.pixels[0] * 255), np.rot90(RAMP, -1))


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    whole = save(
        tmp_path / "a.png", np.random.default_rng(0).integers(0, 255, (60, 60), np.uint8)
    ).read_bytes()
    for number, data in enumerate((b"", b"hello", whole[: len(whole) // 2], whole[:20])):
        (tmp_path / f"{number}.png").write_bytes(data)
        with pytest.raises(InputError, match=rf"{number}\.png"):
            read_image(tmp_path / f"{number}.png")
    with pytest.raises(InputError, match=r"missing\.png"):
        read_image(tmp_path / "missing.png")
    with pytest.raises(InputError):
        read_image(tmp_path)
    frames = [Image.fromarray(RAMP), Image.fromarray(RAMP[::-1].copy())]
    frames[0].save(tmp_path / "two.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"two\.gif"):
        read_image(tmp_path / "two.gif")
    first = read_image(tmp_path / "two.gif", first=True)
    assert first.frames == 2
    assert np.array_equal(np.rint(first.pixels[0] * 255), RAMP)


def test_images_that_would_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "a.png", RAMP)
    for limit in (47, 20):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with pytest.raises(InputError, match=str(limit)):
            read_image(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 48)
    assert read_image(tmp_path / "a.png").pixels.shape == (1, 6, 8)


def test_channels() -> None:
    gray = RasterImage(np.full((1, 2, 2), 0.5, np.float32))
    color = RasterImage(np.stack([np.full((2, 2), v, np.float32) for v in (0.1, 0.2, 0.3)]))
    assert as_channels(gray, 3, Path("a")).shape == (3, 2, 2)
    assert as_channels(RasterImage(as_channels(gray, 3, Path("a"))), 1, Path("a")).shape == (1, 2, 2)
    with pytest.raises(InputError):
        as_channels(color, 1, Path("a"))


def test_all_files_are_written_or_none(tmp_path: Path) -> None:
    gray = RasterImage(np.full((1, 2, 2), 1.5, np.float32))
    (tmp_path / "b.png").write_bytes(b"mine")
    with pytest.raises(OutputError, match=r"b\.png"):
        write_images([(tmp_path / "a.png", gray), (tmp_path / "b.png", gray)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.png"]
    write_images([(tmp_path / "new" / "a.png", gray), (tmp_path / "b.png", gray)], overwrite=True)
    assert np.asarray(Image.open(tmp_path / "b.png")).tolist() == [[255, 255], [255, 255]]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["b.png", "new"]
    with pytest.raises(OutputError):
        write_images([(tmp_path / "b.png" / "c.png", gray)])


def test_a_image_is_stored_before_the_next_is_made(tmp_path: Path) -> None:
    def images() -> Iterator[tuple[Path, RasterImage]]:
        for number in range(3):
            assert len(list(tmp_path.iterdir())) == number
            yield tmp_path / f"{number}.png", RasterImage(np.full((1, 2, 2), 0.5, np.float32))
        raise InputError("no more", "of them")

    with pytest.raises(InputError):
        write_images(images())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("size", "cell"), [(8, 112), (28, 112), (1200, 400)])
def test_contact_sheets_show_everything(size: int, cell: int) -> None:
    images = [np.full((1, size, size), v, np.float32) for v in (0.25, 0.5)]
    sheet = contact_sheet([images, images], ["mixture", "a"], ["01", "02"])
    assert sheet.shape[0] == 3
    for value in (0.25, 0.5):
        shown = np.isclose(sheet[0], round(value * 255) / 255, atol=1e-3).sum()
        assert shown == pytest.approx(2 * cell**2, rel=0.01)
    assert sheet.min() < 0.05  # ink


def test_contact_sheets_have_room_for_words_and_empty_places() -> None:
    flat, words = (
        np.full((1, 10, 400), 0.5, np.float32),
        "01\nlog prior -1.0\nagreement 20.0 dB\nresidual 0.1",
    )
    sheet = contact_sheet([[flat, flat], [None, flat]], ["mixture", "a"], [words, "mean"])
    assert np.isclose(sheet[0], 128 / 255, atol=1e-3).sum() == pytest.approx(3 * flat.size, rel=0.01)
    ink = (sheet[0, :, :100] < 0.5).any(1).nonzero()[0]
    plain = contact_sheet([[flat, flat], [None, flat]], ["mixture", "a"], ["01", "mean"])
    assert sheet.shape[1] > plain.shape[1]
    assert ink.max() < sheet.shape[1] - 1


def gamma_profile(gamma: float) -> bytes:
    """A gray ICC profile of one gamma (ICC.1:2001, sections 6.1 and 6.5)."""
    pad = lambda body: body + bytes(-len(body) % 4)  # noqa: E731
    parts = {
        b"wtpt": b"XYZ " + bytes(4) + struct.pack(">iii", 63190, 65536, 54061),
        b"kTRC": pad(b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256))),
        b"desc": pad(b"desc" + bytes(4) + struct.pack(">I", 6) + b"gamma" + bytes(79)),
        b"cprt": pad(b"text" + bytes(4) + b"none" + bytes(1)),
    }
    table, body, start = b"", b"", 128 + 4 + 12 * len(parts)
    for name, data in parts.items():
        table += name + struct.pack(">II", start + len(body), len(data))
        body += data
    head = struct.pack(">I4sI4s4s4s", start + len(body), b"none", 0x02100000, b"mntr", b"GRAY", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + body


def srgb(light: np.ndarray) -> np.ndarray:
    """Values of sRGB for linear light (IEC 61966-2-1)."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("gamma", [1.0, 1.8])
def test_a_color_profile_is_applied(tmp_path: Path, gamma: float) -> None:
    raster = read_image(save(tmp_path / "a.png", RAMP, icc_profile=gamma_profile(gamma)))
    assert raster.pixels.shape == (1, 6, 8)
    np.testing.assert_allclose(raster.pixels[0], srgb((RAMP / 255.0) ** gamma), atol=2.5 / 255)


def test_a_profile_of_srgb_changes_nothing(tmp_path: Path) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    rgb = np.stack([RAMP, RAMP[::-1], RAMP], axis=-1)
    raster = read_image(save(tmp_path / "a.png", rgb, icc_profile=profile))
    assert np.array_equal(np.rint(np.moveaxis(raster.pixels, 0, -1) * 255), rgb)
    damaged = read_image(save(tmp_path / "b.png", rgb, icc_profile=profile[:100]))
    assert np.array_equal(damaged.pixels, raster.pixels)
    assert damaged.notes


def test_the_gamma_of_a_png_file_is_applied(tmp_path: Path) -> None:
    save(tmp_path / "a.png", RAMP)
    data = (tmp_path / "a.png").read_bytes()
    body = b"gAMA" + struct.pack(">I", 100_000)
    chunk = struct.pack(">I", 4) + body + struct.pack(">I", zlib.crc32(body))
    (tmp_path / "a.png").write_bytes(data[:33] + chunk + data[33:])
    np.testing.assert_allclose(
        read_image(tmp_path / "a.png").pixels[0], (RAMP / 255.0) ** (1 / 2.2), atol=0.51 / 255
    )


def test_transparency_of_deep_gray_is_kept(tmp_path: Path) -> None:
    deep = (np.arange(48, dtype=np.uint16).reshape(6, 8) * 1300).astype(np.uint16)
    image = Image.fromarray(deep)
    image.save(tmp_path / "a.png", transparency=1300)
    raster = read_image(tmp_path / "a.png")
    assert raster.alpha is not None
    assert np.argwhere(raster.alpha == 0).tolist() == [[0, 1]]


def test_resolution_and_exif_are_kept(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    path = save(tmp_path / "a.jpg", RAMP, exif=exif, dpi=(300, 300))
    raster = read_image(path)
    assert raster.pixels.shape == (1, 8, 6)
    for bits, name in ((8, "b.png"), (16, "c.png"), (8, "d.jpg"), (8, "e.webp"), (8, "f.tiff")):
        write_images([(tmp_path / name, replace(raster, bits=bits))])
        with Image.open(tmp_path / name) as stored:
            assert stored.getexif().get(0x010F) == "Maker"
            assert stored.getexif().get(0x0112, 1) == 1
            if not name.endswith("webp"):  # which has no resolution of its own
                assert stored.info["dpi"] == pytest.approx((300, 300), abs=0.1)
            assert stored.size == (6, 8)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tiff"])
def test_formats_that_are_written(tmp_path: Path, suffix: str) -> None:
    smooth = np.linspace(0, 1, 64 * 64, dtype=np.float32).reshape(1, 64, 64)
    for quality in (30, 95):
        write_images([(tmp_path / f"{quality}.{suffix}", RasterImage(smooth))], quality=quality)
    assert np.abs(read_image(tmp_path / f"95.{suffix}").pixels.mean(0) - smooth[0]).max() < 0.02
    sizes = [(tmp_path / f"{quality}.{suffix}").stat().st_size for quality in (30, 95)]
    assert sizes[0] < sizes[1] if suffix in ("jpg", "webp") else sizes[0] == sizes[1]


def test_deep_gray_is_kept_in_tiff(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 1000, dtype=np.float32).reshape(1, 10, 100)
    write_images([(tmp_path / "a.tiff", RasterImage(values, bits=16))])
    assert read_image(tmp_path / "a.tiff").bits == 16
    np.testing.assert_allclose(read_image(tmp_path / "a.tiff").pixels, values, atol=0.6 / 65535)


def test_a_photograph_with_a_preview_is_one_image(tmp_path: Path) -> None:
    image = Image.fromarray(RAMP).convert("RGB")
    image.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[image.resize((4, 3))])
    assert read_image(tmp_path / "a.jpg").frames == 1
    image.save(tmp_path / "b.gif", save_all=True, append_images=[image.rotate(180)])
    with pytest.raises(InputError, match="2 images"):
        read_image(tmp_path / "b.gif")


def test_only_listed_formats_are_tried(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "a.png", format="EPS")
    assert not is_image(tmp_path / "a.png")
    with pytest.raises(InputError):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8])
def test_a_grid_shows_everything_without_empty_thirds(count: int) -> None:
    shades = [np.full((1, 200, 300), 0.1 + 0.1 * n, np.float32) for n in range(count)]
    sheet = contact_grid(shades, [f"{n}" for n in range(count)])
    found = [(np.abs(sheet - float(shade[0, 0, 0])) < 0.005).all(0).sum() for shade in shades]
    assert all(pixels >= 200 * 300 for pixels in found)
    paper = (sheet == 1).all(0).mean()
    assert paper < 1 / 3


@pytest.mark.parametrize(
    ("suffix", "form"), [("jfif", "JPEG"), ("jpe", "JPEG"), ("avif", "AVIF"), ("jp2", "JPEG2000")]
)
def test_other_suffixes_are_found_in_folders_and_read(tmp_path: Path, suffix: str, form: str) -> None:
    image = Image.fromarray(np.repeat(np.repeat(RAMP, 8, 0), 8, 1))
    image.save(tmp_path / f"a.{suffix}", form)
    files, others = find_files(tmp_path, MEDIA["image"].suffixes)
    assert (files, others) == ([tmp_path / f"a.{suffix}"], [])
    pixels = read_image(files[0]).pixels
    assert pixels.shape[1:] == (48, 64)
    assert np.abs(pixels - np.asarray(image) / 255).mean() < 0.03


def test_the_plug_in_of_a_format_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(InputError) as caught:
        read_image(tmp_path / "a.heic")
    assert "pillow-heif" in caught.value.hint
