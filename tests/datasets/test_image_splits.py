"""Data of priors of images: which kind a folder holds, any file as pixels, what is held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from sepcli.datasets.detect import Kind, kind_of
from sepcli.datasets.image_decoder import read_pixels
from sepcli.datasets.image_splits import folder_classes, measure, open_data
from sepcli.errors import InputError, UsageError

DIGITS = Path(__file__).parents[1] / "data" / "digits"
RNG = np.random.default_rng(0)
RED = Image.new("RGB", (8, 8), (255, 0, 0))


def draw(folder: Path, count: int, side: int = 8) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for n in range(count):
        Image.fromarray(RNG.integers(0, 256, (side, side, 3), np.uint8)).save(folder / f"{n:02d}.png")


def test_kinds(tmp_path: Path, tiny_slakh: Path) -> None:
    assert kind_of(DIGITS) is Kind.DIGITS
    assert kind_of(tiny_slakh) is Kind.AUDIO
    (tmp_path / "train-images").mkdir()
    with pytest.raises(InputError, match=tmp_path.name):
        kind_of(tmp_path)
    RED.save(tmp_path / "train-images" / "a.JPEG")
    assert kind_of(tmp_path) is Kind.IMAGES
    soundfile.write(tmp_path / "a.wav", np.zeros(10), 8000)
    with pytest.raises(InputError, match=tmp_path.name):
        kind_of(tmp_path)
    (tmp_path / "train-images" / "a.JPEG").unlink()
    assert kind_of(tmp_path) is Kind.AUDIO
    with pytest.raises(InputError, match="nowhere"):
        kind_of(tmp_path / "nowhere")


def test_any_file_has_pixels(tmp_path: Path) -> None:
    RED.save(tmp_path / "color.png")
    RED.convert("P").save(tmp_path / "palette.png")
    RED.convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    Image.new("RGBA", (8, 8), (255, 0, 0, 0)).save(tmp_path / "clear.png")
    Image.new("RGBA", (8, 8), (255, 0, 0, 51)).save(tmp_path / "veil.png")
    Image.fromarray(np.full((8, 8), 13107, np.uint16)).save(tmp_path / "deep.png")
    Image.new("L", (8, 8), 51).save(tmp_path / "first.gif", save_all=True, append_images=[RED.convert("L")])
    for name, color in {
        "color.png": (1, 0, 0),
        "palette.png": (1, 0, 0),
        "cmyk.jpg": (1, 0, 0),
        "clear.png": (1, 1, 1),
        "veil.png": (1, 0.8, 0.8),
        "deep.png": (0.2,),
    }.items():
        pixels = read_pixels(tmp_path / name)
        assert (pixels.shape, pixels.dtype) == ((len(color), 8, 8), np.float32)
        np.testing.assert_allclose(pixels[:, 4, 4], color, atol=0.02)
    np.testing.assert_allclose(read_pixels(tmp_path / "first.gif")[:, 4, 4], 0.2)


def test_every_file_of_a_folder_counts(tmp_path: Path) -> None:
    """Mixed sizes and formats become one array; a truncated file is named."""
    data = tmp_path / "data"
    draw(data, 2, side=20)
    RED.resize((31, 12)).save(data / "a.jpg")
    Image.new("LA", (16, 16), (255, 0)).save(data / "b.png")
    learn, held_out = open_data(data, size=8)
    assert (learn.images.shape, held_out.images.shape) == ((3, 3, 8, 8), (1, 3, 8, 8))
    whole = (data / "01.png").read_bytes()
    (data / "01.png").write_bytes(whole[: len(whole) // 2])
    for cache in (None, tmp_path / "cache"):
        with pytest.raises(InputError, match=r"01\.png"):
            open_data(data, size=8, cache=cache)
    assert list((tmp_path / "cache").iterdir()) == []


def test_what_is_held_out(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for split, count in (("train", 6), ("test", 3)):
        for kind in ("ant", "bee"):
            draw(data / split / kind, count)
    one = open_data(data, cache=tmp_path / "cache")
    two = open_data(data, cache=tmp_path / "cache")
    assert [len(part.images) for part in one] == [11, 1]
    for first, second in zip(one, two, strict=True):
        np.testing.assert_array_equal(first.images, second.images)
    draw(data / "valid" / "bee", 2)
    with pytest.raises(InputError, match="data"):
        open_data(data, ("ant", "bee"))
    draw(data / "valid" / "ant", 2, side=12)
    learn, held_out = open_data(data, ("ant", "bee"), held_out=3)
    assert (len(learn.images), len(held_out.images)) == (12, 3)
    assert held_out.images.shape[1:] == learn.images.shape[1:] == (3, 8, 8)
    assert learn.classes == folder_classes(data) == ("ant", "bee")


def test_one_image_is_learnt_and_validated(tmp_path: Path) -> None:
    draw(tmp_path / "data", 1)
    learn, held_out = open_data(tmp_path / "data")
    np.testing.assert_array_equal(learn.images, held_out.images)


def test_statistics_are_of_all_values(tmp_path: Path) -> None:
    draw(tmp_path / "data", 12)
    learn, _ = open_data(tmp_path / "data")
    values = learn.images / 255
    assert measure(learn, part=5) == pytest.approx((values.mean(), values.std()))


def test_what_does_not_fit(tmp_path: Path, tiny_slakh: Path) -> None:
    draw(tmp_path / "data", 2)
    with pytest.raises(UsageError, match="0-4, 5-9"):
        open_data(tmp_path / "data", ("0-4", "5-9"))
    with pytest.raises(UsageError, match="data"):
        folder_classes(tmp_path / "data")
    with pytest.raises(InputError, match=tiny_slakh.name):
        open_data(tiny_slakh)
    for option in ({"size": 8}, {"channels": 3}):
        with pytest.raises(UsageError, match=next(iter(option))):
            open_data(DIGITS, **option)
