"""Folders of images: what is found in them, how images get one shape, the cache."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from sepcli.datasets.image_decoder import LUMA, Decoder, areas, as_bytes
from sepcli.datasets.image_folder import class_names, find_images, image_notes, open_images, split_folders
from sepcli.errors import InputError, OutputError
from sepcli.media.images import has_colors

Draw = Callable[..., None]


@pytest.fixture
def draw(tmp_path: Path) -> Draw:
    """Write random images, each another, below ``tmp_path/data``."""
    rng = np.random.default_rng(0)

    def write(*names: str, shape: tuple[int, ...] = (8, 8, 3)) -> None:
        for name in names:
            path = tmp_path / "data" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, shape, np.uint8)).save(path, "PNG")

    return write


class Reader:
    """Reads files and keeps count."""

    def __init__(self) -> None:
        self.files: list[str] = []

    def __call__(self, path: Path) -> NDArray[np.float32]:
        self.files.append(path.name)
        with Image.open(path) as image:
            data = np.asarray(image)
        data = data[..., None] if data.ndim == 2 else data
        return np.divide(np.moveaxis(data, -1, 0), 255, dtype=np.float32)


def bytes_of(path: Path) -> NDArray[np.uint8]:
    return np.moveaxis(np.asarray(Image.open(path)), -1, 0)


def test_shares_of_areas() -> None:
    down, across = areas((3, 4), (2, 2))  # 3 x 3 about the middle, new pixels of 1.5 x 1.5 old ones
    np.testing.assert_allclose(down, [[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]], rtol=1e-6)
    np.testing.assert_allclose(across, [[1 / 3, 2 / 3, 0, 0], [0, 0, 2 / 3, 1 / 3]], rtol=1e-6)
    np.testing.assert_array_equal(areas((2, 2), (4, 4))[0], np.repeat(np.eye(2), 2, axis=0))


@pytest.mark.parametrize("old", [(8, 8), (9, 13), (64, 7), (5, 5), (1, 1), (640, 427)])
@pytest.mark.parametrize("new", [(8, 8), (7, 5), (32, 32)])
def test_shares_are_means(old: tuple[int, int], new: tuple[int, int]) -> None:
    for shares, have, want in zip(areas(old, new), old, new, strict=True):
        assert shares.shape == (want, have)
        assert shares.min() >= 0
        np.testing.assert_allclose(shares.sum(axis=1), 1, atol=1e-5)
        np.testing.assert_allclose(shares.sum(axis=0), shares.sum(axis=0)[::-1], atol=1e-5)  # the middle


def test_the_mean_of_a_square_stays() -> None:
    pixels = np.random.default_rng(0).random((3, 37, 37), dtype=np.float32)
    down, across = areas((37, 37), (8, 8))
    reduced = down @ pixels @ across.T
    np.testing.assert_allclose(reduced.mean(axis=(1, 2)), pixels.mean(axis=(1, 2)), rtol=1e-5)


def test_the_middle_of_a_long_image_is_kept() -> None:
    pixels = np.zeros((1, 4, 12), np.float32)
    pixels[:, :, 4:8] = 1.0
    assert np.all(as_bytes(pixels, (1, 2, 2)) == 255)
    assert np.all(as_bytes(pixels.transpose(0, 2, 1), (1, 2, 2)) == 255)


def test_bytes_come_back_as_they_were() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    pixels = np.divide(levels, 255, dtype=np.float32)
    np.testing.assert_array_equal(as_bytes(pixels, (1, 16, 16)), levels)
    np.testing.assert_array_equal(as_bytes(pixels, (3, 16, 16)), np.repeat(levels, 3, axis=0))
    np.testing.assert_array_equal(as_bytes(np.repeat(pixels, 3, axis=0), (1, 16, 16)), levels)


def test_colors() -> None:
    pixels = np.full((3, 2, 2), 0.5, np.float32)
    assert not has_colors(pixels)
    assert not has_colors(pixels[:1])
    pixels[:, 0, 0] = 1, 0, 0
    assert has_colors(pixels)
    assert as_bytes(pixels, (1, 2, 2))[0, 0, 0] == round(255 * float(LUMA[0]))


def test_layouts(draw: Draw, tmp_path: Path) -> None:
    root = tmp_path / "data"
    draw("Train/cat/b.png", "Train/cat/deep/a.PNG", "Train/ant/c.jpg", "test/cat/d.png", "e.png")
    draw("Train/cat/.hidden.png", ".thumbs/f.png", "Train/.thumbs/g.png", "Train/cat/@eaDir/h.png")
    (root / "Train" / "notes.txt").write_text("no image")
    assert sorted(split_folders(root)) == ["test", "train"]
    folder, files = find_images(root, "train")
    assert [str(path.relative_to(folder)) for path in files] == ["ant/c.jpg", "cat/b.png", "cat/deep/a.PNG"]
    assert class_names(folder, files) == ("ant", "cat")
    (note,) = image_notes(root, "train")
    names = (".thumbs/", "Train/.thumbs/", "Train/cat/.hidden.png", "Train/cat/@eaDir/", "Train/notes.txt")
    assert note == f"{root}: 6 entries are passed over: {', '.join(names)}, …"  # and e.png, in no split
    assert image_notes(root, "test") != image_notes(root, "train")
    assert class_names(*find_images(root, "test")) == ()  # one class is none
    with pytest.raises(InputError, match="validation"):
        find_images(root, "validation")
    draw("Train/loose.png")
    assert class_names(*find_images(root, "train")) == ()
    assert len(find_images(folder, "test")[1]) == 4  # not divided: everything


@pytest.mark.parametrize(
    ("folders", "splits"),
    [
        (["train"], ["train"]),
        (["valid"], ["validation"]),
        (["train", "val", "unused"], ["train", "validation"]),
        (["train", "car"], []),
        (["car", "plane"], []),
        ([], []),
    ],
)
def test_a_class_may_be_called_train(
    draw: Draw, tmp_path: Path, folders: list[str], splits: list[str]
) -> None:
    draw("a.png", *(f"{name}/a.png" for name in folders))
    assert sorted(split_folders(tmp_path / "data")) == splits


def test_images_are_opened_as_they_are(draw: Draw, tmp_path: Path) -> None:
    root = tmp_path / "data"
    draw("b/2.png", "a/1.png", "a/3.png", shape=(8, 6, 3))
    steps: list[tuple[int, int]] = []
    decoder = Decoder(Reader(), on_progress=lambda *step: steps.append(step))
    found = open_images(root, "train", decoder)
    assert (found.images.shape, found.images.dtype, found.classes) == ((3, 3, 8, 6), np.uint8, ("a", "b"))
    assert found.labels.tolist() == [0, 0, 1]
    for image, name in zip(found.images, ("a/1.png", "a/3.png", "b/2.png"), strict=True):
        np.testing.assert_array_equal(image, bytes_of(root / name))
    assert steps[-1] == (3, 3)
    assert found.only(slice(2, None)).labels.tolist() == [1]


def test_an_order_by_lot_is_always_the_same(draw: Draw, tmp_path: Path) -> None:
    draw(*(f"{'ab'[n % 2]}/{n}.png" for n in range(12)))
    root = tmp_path / "data"
    plain = open_images(root, "train", Decoder(Reader()))
    one, two = (open_images(root, "train", Decoder(Reader()), shuffled=True) for _ in range(2))
    np.testing.assert_array_equal(one.images, two.images)
    assert one.labels.tolist() != plain.labels.tolist()
    order = [next(n for n, image in enumerate(plain.images) if np.array_equal(image, x)) for x in one.images]
    assert sorted(order) == list(range(12))
    assert plain.labels[order].tolist() == one.labels.tolist()


def test_several_sizes_become_one(draw: Draw, tmp_path: Path) -> None:
    draw("a.png", shape=(80, 100))
    draw("b.png", shape=(64, 70, 3))
    draw("c.png", shape=(20, 90))
    said: list[str] = []
    found = open_images(tmp_path / "data", "train", Decoder(Reader(), on_message=said.append))
    assert found.images.shape == (3, 3, 64, 64)
    assert said[0].count("64") == 2
    assert re.search(r"\b1\b.*\b3\b", said[1])
    assert "c.png" in said[1]
    small = open_images(tmp_path / "data", "train", Decoder(Reader(), (16, 16), 1, on_message=said.append))
    assert small.images.shape == (3, 1, 16, 16)
    assert len(said) == 2


def test_the_shape_is_settled_by_few_images(draw: Draw, tmp_path: Path) -> None:
    draw("a.png", "b.png", "d.png")
    draw("c.png", shape=(9, 9))
    files = find_images(tmp_path / "data", "train")[1]
    for size, channels, shape, count in (
        (None, None, (3, 64, 64), 3),  # the third is of another size
        ((5, 5), None, (3, 5, 5), 1),
        (None, 1, (1, 64, 64), 3),
        ((5, 4), 1, (1, 5, 4), 1),
    ):
        reader = Reader()
        assert Decoder(reader, size, channels).shape(files) == shape
        assert len(reader.files) == count


def test_large_images_of_one_size(draw: Draw, tmp_path: Path) -> None:
    draw("a.png", "b.png", shape=(130, 8))
    files = find_images(tmp_path / "data", "train")[1]
    assert Decoder(Reader()).shape(files) == (1, 64, 64)


def test_the_cache_is_read_until_a_file_changes(draw: Draw, tmp_path: Path) -> None:
    root, cache, reader = tmp_path / "data", tmp_path / "cache", Reader()
    draw("a.png", "b.png")

    def opened(**how: object) -> NDArray[np.uint8]:
        reader.files.clear()
        decoder = Decoder(reader, **how)  # type: ignore[arg-type]
        return open_images(root, "train", decoder, cache=cache).images

    plain = open_images(root, "train", Decoder(reader)).images
    np.testing.assert_array_equal(opened(), plain)
    assert len(reader.files) >= 2
    again = opened()
    assert reader.files == []
    assert isinstance(again, np.memmap)
    np.testing.assert_array_equal(again, plain)
    assert opened(size=(4, 4)).shape == (2, 3, 4, 4)
    assert opened(channels=1).shape == (2, 1, 8, 8)
    assert reader.files
    stat = (root / "b.png").stat()
    os.utime(root / "b.png", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1_000_000_000))
    opened()
    assert reader.files
    draw("c.png")
    assert len(opened()) == 3
    assert len(list(cache.iterdir())) == 5
    assert all(path.name.startswith("images-") for path in cache.iterdir())


def test_a_cache_that_is_not_whole(draw: Draw, tmp_path: Path) -> None:
    root, cache = tmp_path / "data", tmp_path / "cache"
    draw("a.png", "b.png")
    open_images(root, "train", Decoder(Reader()), cache=cache)
    (file,) = cache.iterdir()
    whole = file.read_bytes()
    other = tmp_path / "other.npy"
    np.save(other, np.zeros((2, 3, 8, 8)))
    for data in (whole[:-1], whole[:20], b"", other.read_bytes()):
        file.write_bytes(data)
        with pytest.raises(InputError, match=re.escape(file.name)):
            open_images(root, "train", Decoder(Reader()), cache=cache)


def test_nothing_half_written_stays(draw: Draw, tmp_path: Path) -> None:
    root, cache = tmp_path / "data", tmp_path / "cache"
    draw("a.png", "b.png")

    def read(path: Path) -> NDArray[np.float32]:
        if path.name == "b.png":
            raise InputError(f"{path} cannot be read", "mend it")
        return Reader()(path)

    with pytest.raises(InputError, match=r"b\.png"):
        open_images(root, "train", Decoder(read, (8, 8)), cache=cache)
    assert list(cache.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=re.escape(str(tmp_path / "file" / "cache"))):
        open_images(root, "train", Decoder(Reader()), cache=tmp_path / "file" / "cache")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        find_images(tmp_path / "nowhere", "train")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(InputError, match=re.escape(str(tmp_path))):
        find_images(tmp_path, "train")
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(InputError, match=r"a\.png"):
        open_images(tmp_path, "train", Decoder(Reader()), cache=tmp_path / "cache")
