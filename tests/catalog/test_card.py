"""Cards: written, read, found, refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import structs

from sepcli import __version__
from sepcli.catalog import card as cards
from sepcli.catalog import index, resolve
from sepcli.catalog.card import Card, File, Part
from sepcli.errors import OutputError, PriorError, UsageError
from sepcli.priors.images.load import load_image_prior

CARD = Card(
    name="a",
    medium="audio",
    engine="lass",
    sources=("drums", "bass"),
    weights=(0.5, 0.25),
    sample_rate=22050,
    title='Größe \N{EM DASH} "quoted"',
    settings={"lass": {"sampler": "beam", "lam": 1.5, "width": 8}},
    stream={"window": 3.0, "samples": 2},
    files={"codec/model.safetensors": File("ab" * 32, 3)},
    parts={
        "codec": Part(
            "vqvae",
            {"steps": 7, "hours_of_data": {"drums": 1.5}, "note": None},
            ({"prior": "before", "steps": 3},),
        )
    },
    figures={"sdr": {"drums": 10.0}},
)


def write(folder: Path, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "card.toml").write_text(text, encoding="utf-8")
    return folder


PLAIN = 'name = "a"\nmedium = "audio"\nengine = "lass"\n'
PLAIN += 'sources = ["x", "y"]\nweights = [1, 0.5]\nsample_rate = 8000\n'
SHA = "ab" * 32


def test_a_card_comes_back_as_it_was(tmp_path: Path) -> None:
    cards.write(CARD, tmp_path)
    training = {"steps": 7, "hours_of_data": {"drums": 1.5}}  # None has no place in TOML
    history = ({"prior": "before", "steps": 3},)
    assert cards.read(tmp_path) == cards.with_part(CARD, "codec", Part("vqvae", training, history))
    assert os.listdir(tmp_path) == ["card.toml"]


def test_a_plain_card_has_defaults(tmp_path: Path) -> None:
    card = cards.read(write(tmp_path, PLAIN))
    assert card.weights == (1.0, 0.5)
    assert (card.title, card.settings, card.files, card.format) == ("", {}, {}, 1)
    assert (card.engines, card.defaults("lass")) == (("lass",), {})


def test_an_earlier_training_precedes_the_ones_before_it() -> None:
    assert [entry["steps"] for entry in cards.history(CARD, "codec")] == [7, 3]
    assert cards.history(CARD, "codec")[0]["prior"] == "a"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", r"card\.toml"),
        ("\x00", r"card\.toml"),
        ('name = "a"\n', "medium"),
        (PLAIN.replace('medium = "audio"\n', ""), "medium"),
        (PLAIN.replace('"audio"', '"video"'), "medium"),
        (PLAIN.replace('"lass"', '"magic"'), "engine"),
        (PLAIN + "nonsense = 1\n", "nonsense"),
        (PLAIN + "format = 0\n", "format"),
        (PLAIN.replace('"a"', "7"), "name"),
        (PLAIN.replace("8000", '"fast"'), "sample_rate"),
        (PLAIN.replace("8000", "0"), "sample_rate"),
        (PLAIN.replace('"audio"', '"image"'), "sample_rate"),
        (PLAIN.replace("[1, 0.5]", '["one", "half"]'), "weights"),
        (PLAIN.replace("[1, 0.5]", "[1]"), "weight"),
        (PLAIN.replace("[1, 0.5]", "[1, nan]"), "weights"),
        (PLAIN.replace("[1, 0.5]", "[1, 0]"), "weights"),
        (PLAIN.replace('"y"', '"x"'), "sources"),
        (PLAIN.replace('["x", "y"]', "[]").replace("[1, 0.5]", "[]"), "sources"),
        (PLAIN.replace('["x", "y"]', "3"), "sources"),
        (PLAIN + "settings = 3\n", "settings"),
        (PLAIN + "settings = {lass = 3}\n", "settings"),
        (PLAIN + "settings = {nmf = {}}\n", "nmf"),
        (PLAIN + 'files = ["a"]\n', "files"),
        (PLAIN + 'files = {a = "b"}\n', "files"),
        (PLAIN + "files = {a = {size = 1}}\n", "sha256"),
        (PLAIN + f'files = {{a = {{size = "1", sha256 = "{SHA}"}}}}\n', "size"),
        (PLAIN + f'files = {{a = {{size = -1, sha256 = "{SHA}"}}}}\n', "size"),
        (PLAIN + 'files = {a = {size = 1, sha256 = "00"}}\n', "sha256"),
        (PLAIN + "parts = {prior = 3}\n", "parts"),
        (PLAIN + "parts = {prior = {training = {}}}\n", "family"),
        (PLAIN + 'parts = {prior = {family = "x", init = {}}}\n', "init"),
        (PLAIN + "priors = 3\n", "priors"),
        (PLAIN + "priors = [1, 2]\n", "priors"),
        (PLAIN + 'priors = ["a", "\\u001b[2J"]\n', r"card\.toml"),
        (PLAIN + 'priors = ["a"]\n', "priors"),
        (PLAIN.replace('"lass"', '"score"') + 'priors = ["a", "b", "c"]\n', "priors"),
        (PLAIN + 'priors = ["a", "../b"]\n', r"card\.toml"),
        (PLAIN + 'priors = ["/a", "b"]\n', r"card\.toml"),
        (PLAIN.replace('"lass"', '"score"') + "settings = {lass = {}}\n", "engine"),
        (PLAIN + "revision = 7\n", "revision"),
        (PLAIN + 'title = "\\u001b[2J"\n', r"card\.toml"),
        (PLAIN + "resolution = [32, 32]\n", "resolution"),
        (PLAIN.replace('"audio"', '"image"').replace("8000", "0") + "resolution = [32]\n", "resolution"),
        (PLAIN.replace('"audio"', '"image"').replace("8000", "0") + "resolution = [32, 0]\n", "resolution"),
        (PLAIN + "resolution = 32\n", "resolution"),
    ],
)
def test_bad_cards_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PriorError, match=message) as refused:
        cards.read(write(tmp_path, text))
    assert str(tmp_path) in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize(
    ("entries", "name"),
    [
        ({"sample_rate": 0}, "sample_rate"),
        ({"sample_rate": "fast"}, "sample_rate"),
        ({"weights": (0.0, 1.0)}, "weights"),
        ({"engine": "magic"}, "engine"),
        ({"format": 2}, "format"),
        ({"files": {"a": {"size": 1}}}, "files"),
        ({"sources": ()}, "sources"),
    ],
)
def test_the_constructor_refuses_what_a_file_may_not_hold(entries: dict[str, Any], name: str) -> None:
    with pytest.raises(UsageError, match=name):
        structs.replace(CARD, **entries)


def test_a_card_of_a_newer_version_says_so(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match=f"format 2.*{__version__}") as refused:
        cards.read(write(tmp_path, PLAIN + "format = 2\nfuture = true\n"))
    assert refused.value.exit_code == 4


def test_the_schema_is_that_of_the_bundled_cards() -> None:
    schema = msgspec.json.schema(Card)
    properties = schema["$defs"]["Card"]["properties"]
    assert set(properties) == {field.name for field in structs.fields(Card)}
    assert schema["$defs"]["Card"]["additionalProperties"] is False
    for name in index.names():
        entries = tomllib.loads((index.BUNDLED / name / "card.toml").read_text())
        assert entries["format"] == 1
        assert entries.keys() <= properties.keys()


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "codec/../../x", "..\\\\x", "C:/x", "", "."])
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    text = PLAIN + f'[files."{name}"]\nsha256 = "{SHA}"\nsize = 1\n'
    with pytest.raises(PriorError, match=r"card\.toml"):
        cards.read(write(tmp_path, text))


def test_a_card_of_images_on_the_hub(tmp_path: Path) -> None:
    card = structs.replace(
        CARD, medium="image", sample_rate=0, resolution=(32, 48), repo="a/b", revision="v1"
    )
    cards.write(card, tmp_path)
    found = cards.read(tmp_path)
    assert (found.resolution, found.repo, found.revision) == ((32, 48), "a/b", "v1")


def test_names_and_folders_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "BUNDLED", tmp_path / "bundled")
    assert index.names() == ()
    for name in ("slakh-drums-bass", "toy"):
        cards.write(structs.replace(CARD, name=name), write(tmp_path / "bundled" / name, PLAIN))
    (tmp_path / "bundled" / "no-card").mkdir()
    assert index.names() == ("slakh-drums-bass", "toy")
    card, folder = resolve.find("toy")
    assert (card.name, folder) == ("toy", tmp_path / "bundled" / "toy")
    own = write(tmp_path / "own", PLAIN)
    assert resolve.find(str(own)) == (cards.read(own), own)


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("slakh-drum-bass", "slakh-drum-bass", "slakh-drums-bass"),
        ("zzzz", "zzzz", "slakh-drums-bass"),
        ("", "prior", "slakh-drums-bass"),
        ("x" * 300, "x" * 30, "slakh-drums-bass"),
        ("\x00", "prior", "slakh-drums-bass"),
        ("empty", "card.toml", "sepcli train-prior"),
    ],
)
def test_what_is_not_found(
    name: str, message: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "BUNDLED", tmp_path / "bundled")
    write(tmp_path / "bundled" / "slakh-drums-bass", PLAIN)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PriorError) as refused:
        resolve.find(name)
    assert message in refused.value.message
    assert hint in refused.value.hint
    assert refused.value.exit_code == 4


def test_the_files_of_a_folder_are_listed_and_verified(tiny_prior: Path, tmp_path: Path) -> None:
    folder = tmp_path / "p"
    shutil.copytree(tiny_prior, folder)
    (folder / "codec" / "history.jsonl").write_text("[]")  # not part of the prior
    card = cards.with_files(cards.read(folder), folder)
    assert set(card.files) == {
        "codec/config.json",
        "codec/model.safetensors",
        "transformer/config.json",
        "transformer/model.safetensors",
        "table/table.safetensors",
    }
    cards.verify(card, folder)


@pytest.mark.parametrize("harm", ["flip", "cut", "grow", "remove", "folder"])
def test_changed_files_are_noticed(tiny_prior: Path, tmp_path: Path, harm: str) -> None:
    folder = tmp_path / "p"
    shutil.copytree(tiny_prior, folder)
    path = folder / "transformer" / "model.safetensors"
    data = path.read_bytes()
    path.unlink()
    if harm == "flip":
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    elif harm == "cut":
        path.write_bytes(data[:-1])
    elif harm == "grow":
        path.write_bytes(data + b"\0")
    elif harm == "folder":
        path.mkdir()
    with pytest.raises(PriorError, match=r"transformer/model\.safetensors"):
        cards.verify(cards.read(folder), folder)


def test_a_card_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"card\.toml"):
        cards.write(CARD, tmp_path / "missing")


@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_of_windows_and_byte_order_marks_change_nothing(
    tiny_images: Path, tmp_path: Path, mark: str
) -> None:
    """As after a checkout with core.autocrlf=true, and an editor of Windows."""
    folder = Path(shutil.copytree(tiny_images, tmp_path / "prior"))
    card = cards.read(folder)
    config = folder / "denoiser" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()), indent=1), newline="\n")
    card = cards.with_files(card, folder)
    cards.write(card, folder)
    for path in (folder / "card.toml", config):
        text = path.read_text(encoding="utf-8")
        path.write_text(mark + text, encoding="utf-8", newline="\r\n")
        assert path.read_bytes().count(b"\r\n") > 3
    assert cards.read(folder) == card
    cards.verify(card, folder)
    assert load_image_prior(folder).config.size == (12, 12)
    config.write_bytes(config.read_bytes().replace(b"12", b"13", 1))
    with pytest.raises(PriorError, match="config"):
        cards.verify(card, folder)


def test_a_checkout_with_line_ends_of_windows_has_the_same_bytes(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("no git")

    def git(*words: str) -> None:
        options = ("-c", "core.autocrlf=true", "-c", "user.name=x", "-c", "user.email=x@example.com")
        subprocess.run(["git", *options, *words], cwd=tmp_path, check=True, capture_output=True)

    names = ("card.toml", "denoiser/config.json", "README.md", "LICENSE")
    data = {f"mnist/{name}": (index.BUNDLED / "mnist" / name).read_bytes() for name in names}
    data[".gitattributes"] = (Path(__file__).parents[2] / ".gitattributes").read_bytes()
    git("init", "-q")
    for name, content in data.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    git("add", ".")
    git("commit", "-qm", "x")
    for name in data:
        (tmp_path / name).unlink()
    git("checkout", "--", ".")
    for name, content in data.items():
        assert (tmp_path / name).read_bytes() == content
