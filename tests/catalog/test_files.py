"""Priors from a server that speaks the Hub's API, through the real client."""

from __future__ import annotations

import errno
import hashlib
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w
from filelock import FileLock
from hub_server import Hub, Repo
from msgspec import structs, to_builtins

from sepcli.catalog import card as cards
from sepcli.catalog import index, resolve
from sepcli.catalog.card import Card
from sepcli.errors import OutputError, PriorError, UsageError

WEIGHTS = "denoiser/model.safetensors"
WORD = "hf:tester/tiny"


@pytest.fixture
def commit(hub: Hub, tiny_images: Path) -> str:
    """The commit of a prior of images in the repository tester/tiny."""
    return hub.publish("tester/tiny", tiny_images, "v1.0")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """The folder of a prior, of some family, with two files of a megabyte."""
    rng = random.Random(0)
    for part in ("a", "b"):
        (tmp_path / "large" / part).mkdir(parents=True)
        (tmp_path / "large" / part / "model.safetensors").write_bytes(rng.randbytes(1_000_000))
    card = Card(name="large", medium="image", engine="score", sources=("x",))
    cards.write(cards.with_files(card, tmp_path / "large"), tmp_path / "large")
    return tmp_path / "large"


@pytest.fixture
def catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the catalog's cards of priors on the Hub; empty."""
    monkeypatch.setattr(index, "REMOTE", tmp_path / "remote")
    (tmp_path / "remote").mkdir()
    return tmp_path / "remote"


def kept(tmp_path: Path) -> list[str]:
    """Names of what lies in the cache besides its locks and names of commits."""
    found = [p for p in (tmp_path / "hf").rglob("*") if p.is_file() or p.is_symlink()]
    return sorted(p.name for p in found if {"blobs", "snapshots"} & set(p.parts))


def refused(word: str = WORD, **options: object) -> PriorError:
    with pytest.raises(PriorError) as error:
        resolve.fetch(word, **options)  # type: ignore[arg-type]
    assert error.value.hint
    assert "hf_" not in error.value.message + error.value.hint
    return error.value


def test_a_prior_is_fetched_once(hub: Hub, commit: str, tiny_images: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    card, folder = resolve.fetch(WORD, on_progress=lambda *step: steps.append(step))
    own = cards.read(tiny_images)
    assert card == structs.replace(own, repo="tester/tiny", revision=commit)
    assert folder == tmp_path / "hf" / "hub" / "models--tester--tiny" / "snapshots" / commit
    for name in own.files:
        assert (folder / name).read_bytes() == (tiny_images / name).read_bytes()
    total = sum(entry.size for entry in own.files.values())
    assert steps == sorted(steps)
    assert steps[-1] == (total, total)
    assert any(path.startswith("/cdn/") for path in hub.fetched())
    for word, asked in (
        (WORD, ["/api/models/tester/tiny/revision/main"]),
        (f"{WORD}@v1.0", ["/api/models/tester/tiny/revision/v1.0"]),
        (f"{WORD}@{commit}", []),
    ):
        assert resolve.fetch(word) == (card, folder)
        assert hub.fetched() == asked


def test_nothing_is_fetched_without_being_asked(hub: Hub, commit: str, tmp_path: Path) -> None:
    with pytest.raises(PriorError, match=WORD) as missing:
        resolve.find(WORD)
    assert f"sepcli fetch-priors {WORD}" in missing.value.hint
    assert WORD in refused(offline=True).message
    assert hub.asked == []
    assert not (tmp_path / "hf").exists()
    fetched = resolve.fetch(WORD)
    hub.asked.clear()
    for word in (WORD, f"{WORD}@{commit}"):
        assert resolve.find(word) == resolve.fetch(word, offline=True) == fetched
    cards.verify(*fetched)
    assert hub.asked == []


def test_the_variable_for_offline_is_obeyed(hub: Hub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert WORD in refused().message
    assert hub.asked == []


def test_another_cache(commit: str, tmp_path: Path) -> None:
    card, folder = resolve.fetch(WORD, cache_dir=tmp_path / "own")
    assert folder.is_relative_to(tmp_path / "own")
    assert resolve.find(WORD, cache_dir=tmp_path / "own") == (card, folder)
    assert kept(tmp_path) == []


def test_a_cut_connection_is_taken_up_where_it_broke(
    hub: Hub, large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 100_000)  # it writes whole chunks
    hub.publish("tester/tiny", large)
    hub.cut, hub.cuts = 350_000, 2
    card, folder = resolve.fetch(WORD)
    cards.verify(card, folder)
    ranges = [asked for method, path, asked, _ in hub.asked if method == "GET" and "/cdn/" in path]
    assert ranges == [None, "bytes=300000-", "bytes=600000-", None]


def test_what_killed_downloads_left_is_removed(hub: Hub, commit: str, tmp_path: Path) -> None:
    _, folder = resolve.fetch(WORD)
    cache, blob = tmp_path / "hf" / "hub", (folder / WEIGHTS).resolve()
    locks = cache / ".locks" / "models--tester--tiny"
    left, busy = (
        blob.with_name(f"{blob.name}.0123abcd.incomplete"),
        blob.with_name("0" * 64 + ".0123abcd.incomplete"),
    )
    for path in (left, busy):
        path.write_bytes(b"the start")
    with FileLock(locks / f"{'0' * 64}.lock"):
        assert resolve.fetch(f"{WORD}@{commit}")[1] == folder
        assert not left.exists()
        assert busy.exists()
    resolve.fetch(WORD)
    assert not busy.exists()


def test_what_was_fetched_before_a_failure_is_kept(
    hub: Hub, large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.publish("tester/tiny", large)

    def break_after_the_first(done: int, total: int) -> None:
        hub.cut, hub.cuts = 0, 100

    error = refused(on_progress=break_after_the_first)
    assert "tester/tiny" in error.message
    assert kept(tmp_path).count("model.safetensors") == 1
    assert WORD in refused(offline=True).message
    hub.cuts = 0
    hub.asked.clear()
    cards.verify(*resolve.fetch(WORD))
    assert sum("/cdn/" in path for path in hub.fetched()) == 1


@pytest.mark.parametrize("grow", [0, 1])
def test_a_tampered_file_is_refused_and_nothing_is_kept(
    hub: Hub, commit: str, tiny_images: Path, tmp_path: Path, grow: int
) -> None:
    data = (tiny_images / WEIGHTS).read_bytes()
    hub.instead[hashlib.sha256(data).hexdigest()] = bytes(len(data) + grow)
    error = refused()
    assert error.exit_code == 4
    if not grow:
        assert WEIGHTS in error.message
        assert kept(tmp_path) == []
    assert WEIGHTS.split("/")[1] not in kept(tmp_path)
    with pytest.raises(PriorError, match=WORD):
        resolve.find(WORD)


def repo_of(folder: Path, change: Callable[[Card], Card | str], **more: bytes) -> dict[str, bytes]:
    """The files of a prior with another card."""
    changed = shutil.copytree(folder, folder.parent / "changed", dirs_exist_ok=True)
    made = change(cards.read(changed))
    if isinstance(made, str):
        (changed / "card.toml").write_text(made)
    else:
        cards.write(made, changed)
    found = {p.relative_to(changed).as_posix(): p.read_bytes() for p in changed.rglob("*") if p.is_file()}
    return {**found, **more}


def listed(name: str, **entry: object) -> Callable[[Card], Card]:
    def change(card: Card) -> Card:
        old = structs.asdict(card.files[name]) if name in card.files else {}
        return structs.replace(card, files={**card.files, name: cards.File(**{**old, **entry})})

    return change


def spoiled(**entries: object) -> Callable[[Card], str]:
    """The text of a card that the constructor refuses."""

    def text(card: Card) -> str:
        stated = {key: value for key, value in to_builtins(card).items() if value is not None}
        return tomli_w.dumps({**stated, **entries})

    return text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (listed(WEIGHTS, sha256="0" * 64), WEIGHTS),
        (listed(WEIGHTS, size=7), WEIGHTS),
        (listed("denoiser/config.json", sha256="0" * 64), "denoiser/config.json"),
        (listed("denoiser/more.safetensors", sha256="0" * 64, size=7), "denoiser/more.safetensors"),
        (listed("denoiser/model.bin", sha256="0" * 64, size=7), "denoiser/model.bin"),
        (listed("../escaped.json", sha256="0" * 64, size=7), "card.toml"),
        (listed("C:/escaped.json", sha256="0" * 64, size=7), "card.toml"),
        (lambda card: structs.replace(card, files={}), "tester/tiny"),
        (spoiled(weights=[0.0]), "card.toml"),
        (spoiled(title="\x1b[2J"), "card.toml"),
    ],
)
def test_a_repository_that_is_not_what_its_card_says(
    hub: Hub, tiny_images: Path, tmp_path: Path, change: Callable[[Card], Card | str], message: str
) -> None:
    hub.repos["tester/tiny"] = Repo()
    hub.repos["tester/tiny"].commit(repo_of(shutil.copytree(tiny_images, tmp_path / "own"), change))
    assert message in refused().message
    assert kept(tmp_path) == []
    assert not any("/cdn/" in path for path in hub.fetched())
    assert not list(tmp_path.rglob("escaped*"))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["pytorch_model.bin", "README.md"], "tester/tiny"),
        (["model.ckpt", "a/b.PT"], "tester/tiny"),
        (["model.safetensors", "pytorch_model.bin"], "card.toml"),
        ([], "card.toml"),
        (["../../card.toml", "/card.toml"], "card.toml"),
    ],
)
def test_a_repository_of_something_else(hub: Hub, tmp_path: Path, names: list[str], message: str) -> None:
    hub.repos["tester/tiny"] = Repo()
    hub.repos["tester/tiny"].commit(dict.fromkeys(names, b"x"))
    assert message in refused().message
    assert hub.fetched() == ["/api/models/tester/tiny/revision/main"]
    assert not (tmp_path / "hf").exists()


def test_a_card_that_is_too_large(hub: Hub) -> None:
    hub.repos["tester/tiny"] = Repo()
    hub.repos["tester/tiny"].commit({"card.toml": b"#" * 1_000_001})
    assert "card.toml" in refused().message
    assert len(hub.fetched()) == 1


@pytest.mark.parametrize(
    ("word", "status", "message", "hint"),
    [
        ("hf:tester/other", None, "tester/other", "HF_TOKEN"),
        (f"{WORD}@v9", None, "v9", ""),
        (f"{WORD}@{'0' * 40}", None, "0" * 40, ""),
        ("hf:a--b/c", None, "a--b/c", "hf:owner/name"),
        (WORD, 401, "401", "HF_TOKEN"),
        (WORD, 403, "403", "HF_TOKEN"),
        (WORD, 404, "404", ""),
        (WORD, 503, "503", ""),
    ],
)
def test_the_hub_says_no(
    hub: Hub, commit: str, word: str, status: int | None, message: str, hint: str
) -> None:
    hub.status = status
    error = refused(word)
    assert message in error.message
    assert hint in error.hint


def test_gates_and_tokens(hub: Hub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["tester/tiny"].gated = True
    error = refused()
    assert "tester/tiny" in error.message
    assert f"{hub.url}/tester/tiny" in error.hint
    monkeypatch.setenv("HF_TOKEN", "hf_bad")
    assert "401" in refused().message
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    hub.asked.clear()
    resolve.fetch(WORD)
    tokens = {("/cdn/" in path, token) for _, path, _, token in hub.asked}
    assert tokens == {(False, "Bearer hf_good"), (True, None)}  # the delivery network does not get it


def test_revisions_are_pinned(hub: Hub, commit: str, tiny_images: Path, tmp_path: Path) -> None:
    old = resolve.fetch(WORD)
    newer = repo_of(
        shutil.copytree(tiny_images, tmp_path / "own"), lambda card: structs.replace(card, title="new")
    )
    new_commit = hub.repos["tester/tiny"].commit(newer)
    assert resolve.find(WORD) == old  # until it is fetched again
    card, folder = resolve.fetch(WORD)
    assert (card.title, card.revision, folder.name) == ("new", new_commit, new_commit)
    assert resolve.find(WORD) == (card, folder)
    assert resolve.fetch(f"{WORD}@v1.0") == resolve.fetch(f"{WORD}@{commit}") == old
    assert resolve.fetch(WORD, revision="v1.0") == resolve.fetch(f"{WORD}@main", revision=commit) == old


def test_no_network(hub: Hub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert "tester/tiny" in refused().message
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "nonsense://")
    assert "tester/tiny" in refused().message


def test_not_a_hub(hub: Hub, commit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub_server.Handler.info", lambda self, *_: self.send(200, b"<html>", {}))
    assert "tester/tiny" in refused().message


def test_a_cache_that_cannot_be_written(
    hub: Hub, commit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="cache"):
        resolve.fetch(WORD, cache_dir=tmp_path / "file" / "cache")

    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.hf_hub_download", full)
        with pytest.raises(OutputError, match=r"(?i)no space"):
            resolve.fetch(WORD)


def test_a_read_only_cache_is_read(hub: Hub, commit: str, tmp_path: Path) -> None:
    fetched = resolve.fetch(WORD)
    folders = [tmp_path / "hf", *(p for p in (tmp_path / "hf").rglob("*") if p.is_dir())]
    try:
        for folder in folders:
            folder.chmod(0o500)
        if os.access(tmp_path / "hf", os.W_OK):
            pytest.skip("an administrator may write anywhere")
        assert resolve.fetch(WORD) == resolve.find(WORD) == fetched
        hub.repos["tester/tiny"].refs["main"] = "0" * 40
        hub.repos["tester/tiny"].commits["0" * 40] = hub.repos["tester/tiny"].commits[commit]
        with pytest.raises(OutputError, match="cache"):
            resolve.fetch(WORD)
    finally:
        for folder in folders:
            folder.chmod(0o700)


def test_damaged_files_are_fetched_anew(hub: Hub, commit: str, tiny_images: Path) -> None:
    card, folder = resolve.fetch(WORD)
    for harm in ("flip", "cut", "card"):
        path = folder / ("card.toml" if harm == "card" else WEIGHTS)
        data = path.read_bytes()
        path.write_bytes(data[:-1] if harm == "cut" else data[:-1] + bytes([data[-1] ^ 1]))
        if harm == "card":
            path.write_bytes(b"\0")
            with pytest.raises(PriorError, match=r"card\.toml"):
                resolve.find(WORD)
        else:
            with pytest.raises(PriorError, match=WEIGHTS) as damaged:
                cards.verify(*resolve.find(WORD))
            assert "sepcli fetch-priors" in damaged.value.hint
        assert resolve.fetch(WORD) == (card, folder)
        cards.verify(card, folder)


@pytest.mark.parametrize(
    "word",
    [
        "hf:",
        "hf:tiny",
        "hf:tester/tiny@",
        "hf:tester/tiny@../x",
        "hf:tester/tiny@a/../../x",
        "hf:tester/tiny@/etc/passwd",
        "hf:../tiny/x",
        "hf:tester/tiny\n",
        "hf:http://tester/tiny",
        "hf:tester/tiny@a b",
    ],
)
def test_words_that_name_no_repository(hub: Hub, word: str) -> None:
    for look in (resolve.find, resolve.fetch, resolve.preview):
        with pytest.raises(UsageError) as error:
            look(word)
        assert error.value.hint
    assert hub.asked == []


def test_the_catalog_knows_priors_on_the_hub(
    hub: Hub, tiny_images: Path, catalog: Path, tmp_path: Path
) -> None:
    names = ("denoiser/config.json", WEIGHTS, "pytorch_model.bin")
    repo = hub.repos.setdefault("google/ddpm", Repo())
    commit = repo.commit({n: (tiny_images / n).read_bytes() if n != names[2] else b"x" for n in names})
    own = cards.read(tiny_images)
    card = structs.replace(own, name="ddpm", repo="google/ddpm", revision=commit, resolution=(32, 32))
    cards.write(card, tmp_path)
    (tmp_path / "card.toml").rename(catalog / "ddpm.toml")
    assert index.remote_names() == ("ddpm",)
    for wrong in ("ddpn", "DDPM"):
        with pytest.raises(PriorError, match=wrong):
            resolve.find(wrong)
    with pytest.raises(PriorError) as near:
        resolve.find("dpm")
    assert "ddpm" in near.value.hint
    with pytest.raises(PriorError, match="ddpm") as missing:
        resolve.find("ddpm")
    assert "sepcli fetch-priors ddpm" in missing.value.hint
    assert resolve.preview("ddpm") == (card, names[:2])
    assert hub.asked == []
    assert resolve.fetch("ddpm") == resolve.find("ddpm")
    found, folder = resolve.find("ddpm")
    assert (found, folder.name) == (card, commit)
    assert sorted(p.name for p in folder.rglob("*") if p.is_file()) == ["config.json", "model.safetensors"]
    hub.asked.clear()
    assert resolve.fetch("ddpm") == (card, folder)
    assert resolve.preview("ddpm") == (card, ())
    assert hub.asked == []
    repo.commit({**repo.commits[commit], "denoiser/config.json": b"{}"}, "changed")
    assert "denoiser/config.json" in refused("ddpm", revision="changed").message


def test_a_card_of_the_catalog_that_is_not_complete(catalog: Path, tiny_images: Path) -> None:
    shutil.copy(tiny_images / "card.toml", catalog / "half.toml")
    for look in (resolve.find, resolve.fetch):
        with pytest.raises(PriorError, match="half"):
            look("half")


def test_what_is_here_needs_no_network(hub: Hub, tiny_images: Path) -> None:
    for word in (*index.names(), str(tiny_images)):
        assert resolve.fetch(word) == resolve.find(word)
        assert resolve.preview(word) == (resolve.find(word)[0], ())
        with pytest.raises(UsageError, match="revision"):
            resolve.fetch(word, revision="main")
    assert hub.asked == []


def test_previews(hub: Hub, commit: str, tiny_images: Path, tmp_path: Path) -> None:
    with pytest.raises(PriorError, match=WORD):
        resolve.preview(WORD, offline=True)
    card, missing = resolve.preview(WORD)
    assert (card, set(missing)) == (cards.read(tiny_images), set(card.files))
    assert kept(tmp_path) == []
    (_, folder) = resolve.fetch(WORD)
    assert resolve.preview(WORD)[1] == resolve.preview(WORD, offline=True)[1] == ()
    (folder / WEIGHTS).unlink()
    assert resolve.preview(WORD)[1] == (WEIGHTS,)
