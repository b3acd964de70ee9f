"""``sepcli build-likelihood`` end to end, and what it refuses."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
from filelock import FileLock
from two_lines import two_lines

from sepcli.atomic import lock_of
from sepcli.cli.app import run

HAS_RAY = importlib.util.find_spec("ray") is not None
BATCH = 4 * 32
SMALL = ("--set", "pairs=4", "--set", "chunk_tokens=32", "--set", "held_out=1")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def prior(tiny_prior: Path, tmp_path: Path) -> Path:
    """A prior without a table."""
    folder = Path(shutil.copytree(tiny_prior, tmp_path / "prior"))
    shutil.rmtree(folder / "table")
    return folder


@pytest.fixture
def build(tiny_slakh: Path, prior: Path, capsys: pytest.CaptureFixture[str]):
    """Run the command for the prior; return exit code, stdout and stderr."""

    def call(*words: object) -> tuple[int, str, str]:
        usual = ("--prior", prior, "--data", tiny_slakh, "--cache", tiny_slakh / "cache", *SMALL)
        code = run(["build-likelihood", *map(str, (*usual, *words))])
        return code, *capsys.readouterr()

    return call


def test_a_table_is_counted_and_shown(build, prior: Path) -> None:
    code, out, err = build("--tokens", 2 * BATCH, "--max-nonzeros", 10)
    assert (code, err) == (0, "")
    heads, counted, kept, *caption = out.splitlines()
    assert heads.split()[:2] == ["table", "nonzeros"]
    assert counted.startswith("counted")
    assert kept.split()[:2] == ["kept", "10"]
    assert caption[0].startswith(f"{2 * BATCH:,} ")
    code, out, err = build("--tokens", 4 * BATCH, "--resume", "--json")
    assert (code, err) == (0, "")
    document = json.loads(out)
    assert document["tokens"] == 4 * BATCH
    assert set(document["coverage_kept"]) == {"codes", "triples", "pairs"}


def test_shards_are_merged(build, prior: Path, tmp_path: Path) -> None:
    assert build("--tokens", BATCH)[0] == 0
    shard = Path(shutil.copytree(prior, tmp_path / "shard"))
    assert build("--tokens", BATCH, "--seed", 1, "--overwrite")[0] == 0
    code, _, err = build("--merge", shard)
    assert code == 1
    assert "counts.safetensors" in two_lines(err)[0]
    code, out, err = build("--merge", shard, "--merge", prior, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["tokens"] == 2 * BATCH


@pytest.mark.slow
@pytest.mark.parametrize(
    "executor", ["processes", pytest.param("ray", marks=pytest.mark.skipif(not HAS_RAY, reason="needs Ray"))]
)
def test_workers_count_the_same_table(build, prior: Path, tmp_path: Path, executor: str) -> None:
    def table() -> list[bytes]:
        return [path.read_bytes() for path in sorted((prior / "table").iterdir())]

    assert build("--tokens", 20 * BATCH, "--json")[0] == 0
    alone = table()
    assert build("--tokens", 10 * BATCH, "--overwrite", "-j", 2, "--executor", executor)[0] == 0
    assert build("--tokens", 20 * BATCH, "--resume", "-j", 2, "--executor", executor)[0] == 0
    assert table() == alone


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--time-budget", "soon"], 2, "soon"),
        (["--tokens", "0"], 2, "--tokens"),
        (["--max-nonzeros", "0"], 2, "--max-nonzeros"),
        (["--seed", "-1"], 2, "--seed"),
        (["--resume", "--overwrite"], 2, "--resume"),
        (["--device", "toaster"], 2, "toaster"),
        (["--executor", "dask"], 2, "dask"),
        (["--prior", "nowhere"], 4, "nowhere"),
        (["--data", "nowhere"], 1, "nowhere"),
        (["--merge", "nowhere"], 4, "nowhere"),
        (["--set", "pairs=0"], 2, "pairs"),
        (["--set", "seed=1"], 2, "seed"),
        (["--set", "nonsense=1"], 2, "nonsense"),
        (["--nonsense"], 2, "--nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_refused(build, prior: Path, words: list[str], code: int, message: str) -> None:
    found, out, err = build(*words)
    assert (found, out) == (code, "")
    assert message in two_lines(err)[0]
    assert not (prior / "table").exists()


def test_existing_counts_are_kept(build, prior: Path) -> None:
    assert build("--tokens", BATCH)[0] == 0
    before = (prior / "table" / "counts.safetensors").read_bytes()
    code, out, err = build("--tokens", BATCH)
    assert (code, out) == (1, "")
    assert "resume" in two_lines(err)[1]
    assert (prior / "table" / "counts.safetensors").read_bytes() == before


def test_help_lists_the_options(build) -> None:
    code, out, _ = build("--help")
    assert code == 0
    for option in (
        "--prior",
        "--data",
        "--tokens",
        "--time-budget",
        "--symmetric",
        "--max-nonzeros",
        "--merge",
        "--cache",
        "--set",
        "--seed",
        "--device",
        "--resume",
        "--overwrite",
        "--json",
        "--quiet",
    ):
        assert option in out


def test_a_second_run_is_refused(build, prior: Path) -> None:
    with FileLock(lock_of(prior / "table")):
        code, _, err = build("--tokens", BATCH)
        assert code == 1
        assert str(prior) in two_lines(err)[0]
    assert build("--tokens", BATCH)[0] == 0
    assert not lock_of(prior / "table").exists()
