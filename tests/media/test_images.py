"""Image files of every kind, whole and damaged; contact sheets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepcli.errors import InputError, OutputError
from sepcli.media.contact_sheet import contact_sheet
from sepcli.media.images import RasterImage, as_channels, read_image, write_images

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
