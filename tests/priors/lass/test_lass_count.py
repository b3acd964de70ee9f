"""Counting the likelihood table: by budget, in pieces, in shards."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from loading import engine_of
from msgspec import structs
from tiny_priors import write_lass_prior

from sepcli.catalog import card as cards
from sepcli.errors import OutputError, PriorError, SepError, UsageError
from sepcli.priors.lass.count import count, merge
from sepcli.priors.lass.load import load_codec
from sepcli.priors.lass.settings import CountSettings
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter
from sepcli.priors.lass.table_job import nearest_seen, open_job
from sepcli.separation.executor import WorkerLost

BATCH = 8 * 32
SETTINGS = CountSettings(
    tokens=4 * BATCH, max_nonzeros=300, max_marginals=200, pairs=8, chunk_tokens=32, held_out=2
)


@pytest.fixture
def prior(tiny_prior: Path, tmp_path: Path) -> Path:
    """A prior without a table."""
    folder = Path(shutil.copytree(tiny_prior, tmp_path / "prior"))
    shutil.rmtree(folder / "table")
    return folder


@pytest.fixture
def counting(tiny_slakh: Path) -> Callable[..., dict[str, Any]]:
    def call(folder: Path, settings: CountSettings = SETTINGS, **options: Any) -> dict[str, Any]:
        return count(open_job(folder, tiny_slakh, settings, tiny_slakh / "cache"), **options)

    return call


def counts(folder: Path) -> LikelihoodTable:
    return LikelihoodTable.load(folder / "table" / "counts.safetensors")


def same(one: LikelihoodTable, two: LikelihoodTable) -> bool:
    return (
        one.pairs == two.pairs
        and torch.equal(one.joint.counts.keys, two.joint.counts.keys)
        and torch.equal(one.joint.counts.values, two.joint.counts.values)
    )


def test_a_table_is_counted_described_and_used(prior: Path, counting: Callable[..., dict[str, Any]]) -> None:
    told: list[tuple[int, int]] = []
    summary = counting(prior, on_progress=lambda *done: told.append(done))
    assert told == [(n * BATCH, 4 * BATCH) for n in (1, 2, 3, 4)]
    assert sorted(p.name for p in (prior / "table").iterdir()) == ["counts.safetensors", "table.safetensors"]
    assert summary["tokens"] == counts(prior).pairs == 4 * BATCH
    assert 0 < summary["kept"]["nonzeros"] <= 300
    assert summary["kept"]["nonzeros"] <= summary["counted"]["nonzeros"] <= 4 * BATCH
    assert summary["counted"]["density_percent"] == pytest.approx(
        100 * summary["counted"]["nonzeros"] / 32**3
    )
    for which in ("coverage_counted", "coverage_kept"):
        coverage = summary[which]
        assert 0 <= coverage["triples"] <= coverage["pairs"] <= 1
        assert coverage["triples"] <= coverage["codes"] <= 1
    assert summary["coverage_kept"]["triples"] <= summary["coverage_counted"]["triples"]
    assert summary["coverage_counted"]["codes"] > 0.5
    assert summary["held_out_nats"] > 0
    table = LikelihoodTable.load(prior / "table" / "table.safetensors")
    assert table.beta == summary["beta"]
    assert int(table.support(torch.arange(32)).min()) >= 0  # every code can be read as one that was seen
    card = cards.read(prior)
    cards.verify(card, prior)
    assert card.parts["table"].training["tokens"] == 4 * BATCH
    assert card.files["table/table.safetensors"].sha256 == cards.sha256(prior / "table/table.safetensors")
    assert engine_of(str(prior)).names == ("drums", "bass")


def test_resuming_is_counting_at_once(
    prior: Path, tmp_path: Path, counting: Callable[..., dict[str, Any]]
) -> None:
    other = Path(shutil.copytree(prior, tmp_path / "other"))
    counting(prior)
    counting(other, replace(SETTINGS, tokens=2 * BATCH))
    counting(other, resume=True)
    assert same(counts(prior), counts(other))
    one, two = (LikelihoodTable.load(p / "table" / "table.safetensors") for p in (prior, other))
    assert same(one, two)
    assert one.beta == two.beta
    again = counting(other, resume=True)  # enough already
    assert again["tokens"] == 4 * BATCH


def test_an_interrupted_count_goes_on(
    prior: Path, tmp_path: Path, counting: Callable[..., dict[str, Any]]
) -> None:
    other = Path(shutil.copytree(prior, tmp_path / "other"))
    often = replace(SETTINGS, save_seconds=0)

    def interrupt(done: int, total: int) -> None:
        if done == 3 * BATCH:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        counting(other, often, on_progress=interrupt)
    assert counts(other).pairs == 2 * BATCH
    counting(other, often, resume=True)
    counting(prior)
    assert same(counts(prior), counts(other))


def test_shards_add_up(
    prior: Path, tmp_path: Path, tiny_slakh: Path, counting: Callable[..., dict[str, Any]]
) -> None:
    shards = [Path(shutil.copytree(prior, tmp_path / name)) for name in ("one", "two")]
    for seed, shard in enumerate(shards):
        counting(shard, replace(SETTINGS, tokens=2 * BATCH, seed=seed))
    paths = [shards[0], shards[1] / "table" / "counts.safetensors"]
    summary = merge(open_job(prior, tiny_slakh, SETTINGS, tiny_slakh / "cache"), paths)
    expected = LikelihoodTable.merge([counts(shard) for shard in shards])
    assert same(counts(prior), expected)
    assert not same(counts(shards[0]), counts(shards[1]))
    assert summary["tokens"] == 4 * BATCH
    cards.verify(cards.read(prior), prior)
    both = [prior, Path(shutil.copytree(shards[0], tmp_path / "three"))]  # its own counts may be among them
    merge(open_job(prior, tiny_slakh, SETTINGS, tiny_slakh / "cache"), both)
    assert counts(prior).pairs == 6 * BATCH


@dataclass(frozen=True)
class Scrambled:
    """Two workers that are done in the opposite order; those of one item are killed."""

    lost: int | None = None
    devices: tuple[str, ...] = ("cpu", "cpu")

    def map(
        self, setup: Callable[..., Any], fn: Callable[..., Any], items: Iterable[Any], *options: Any
    ) -> Iterator[tuple[int, Any]]:
        state = setup("cpu")
        for number, item in reversed([*enumerate(items)]):
            yield number, WorkerLost() if number == self.lost else fn(state, item, lambda done, whole: None)


def test_workers_count_the_same_table_in_any_order(
    prior: Path, tmp_path: Path, counting: Callable[..., dict[str, Any]]
) -> None:
    other = Path(shutil.copytree(prior, tmp_path / "other"))
    more = replace(SETTINGS, tokens=18 * BATCH + 1)
    told: list[tuple[int, int]] = []
    alone = counting(prior, more)
    several = counting(other, more, executor=Scrambled(), on_progress=lambda *done: told.append(done))
    assert alone["tokens"] == 19 * BATCH
    assert told == sorted(told)
    assert told[-1] == (18 * BATCH + 1, 18 * BATCH + 1)
    for name in ("counts", "table"):
        file = f"table/{name}.safetensors"
        assert (prior / file).read_bytes() == (other / file).read_bytes()
    del several["kept"]["file_bytes"], alone["kept"]["file_bytes"]
    assert several == alone


def test_what_was_counted_before_a_lost_shard_is_kept(
    prior: Path, tmp_path: Path, counting: Callable[..., dict[str, Any]]
) -> None:
    other = Path(shutil.copytree(prior, tmp_path / "other"))
    more = replace(SETTINGS, tokens=20 * BATCH)
    with pytest.raises(WorkerLost):
        counting(other, more, executor=Scrambled(lost=1))
    assert counts(other).pairs == 8 * BATCH
    counting(other, more, executor=Scrambled(), resume=True)
    counting(prior, more)
    assert same(counts(prior), counts(other))


def test_both_orders(prior: Path, counting: Callable[..., dict[str, Any]]) -> None:
    counting(prior, replace(SETTINGS, symmetric=True, tokens=BATCH))
    table = counts(prior)
    assert table.symmetric
    assert table.joint.counts.total == 2 * BATCH
    with pytest.raises(UsageError, match=r"counts\.safetensors") as refused:
        counting(prior, resume=True)
    assert refused.value.argument == "symmetric"


def test_a_budget_of_seconds(prior: Path, counting: Callable[..., dict[str, Any]]) -> None:
    summary = counting(prior, replace(SETTINGS, tokens=None, seconds=0.05))
    assert summary["tokens"] >= BATCH


@pytest.mark.parametrize("settings", [{"tokens": 0}, {"seconds": 0.0}])
def test_nothing_to_count(
    prior: Path, settings: dict[str, float], counting: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(UsageError):
        counting(prior, replace(SETTINGS, **settings))  # type: ignore[arg-type]


def test_counts_are_not_replaced_unasked(
    prior: Path, tmp_path: Path, tiny_slakh: Path, counting: Callable[..., dict[str, Any]]
) -> None:
    other = Path(shutil.copytree(prior, tmp_path / "other"))
    few = replace(SETTINGS, tokens=BATCH)
    counting(prior, few)
    counting(other, replace(few, seed=1))
    before = counts(prior)
    with pytest.raises(OutputError, match=r"counts\.safetensors") as refused:
        counting(prior, few)
    assert "resume" in refused.value.hint
    with pytest.raises(OutputError, match=r"counts\.safetensors"):
        merge(open_job(prior, tiny_slakh, few, tiny_slakh / "cache"), [other])
    assert same(counts(prior), before)
    merge(open_job(prior, tiny_slakh, few, tiny_slakh / "cache"), [other], overwrite=True)
    assert same(counts(prior), counts(other))
    counting(prior, few, overwrite=True)
    assert same(counts(prior), before)


def test_shards_that_do_not_fit(
    prior: Path, tmp_path: Path, tiny_slakh: Path, counting: Callable[..., dict[str, Any]]
) -> None:
    counting(prior, replace(SETTINGS, tokens=BATCH))

    def refused(shards: list[Path], folder: Path = prior) -> SepError:
        with pytest.raises(SepError) as problem:
            merge(open_job(folder, tiny_slakh, SETTINGS, tiny_slakh / "cache"), shards, overwrite=True)
        return problem.value

    before = counts(prior)
    assert isinstance(refused([prior, prior / "table" / "counts.safetensors"]), UsageError)
    assert refused([tmp_path / "nowhere"]).exit_code == 4
    counter = TripleCounter(32)
    counter.add(*torch.zeros(3, 1, dtype=torch.int64))
    LikelihoodTable.of(counter, "another").save(tmp_path / "another.safetensors")
    error = refused([prior, tmp_path / "another.safetensors"])
    assert isinstance(error, UsageError)
    assert "another.safetensors" in error.message
    assert same(counts(prior), before)


def test_priors_that_cannot_be_counted_for(
    prior: Path, tmp_path: Path, counting: Callable[..., dict[str, Any]]
) -> None:
    with pytest.raises(PriorError, match="nowhere"):
        counting(tmp_path / "nowhere")
    card = cards.read(prior)
    for sources, weights in ((("a",), (1.0,)), (("a", "b", "c"), (1.0, 1.0, 0.5))):
        cards.write(structs.replace(card, sources=sources, weights=weights), prior)
        with pytest.raises(PriorError, match="tiny"):
            counting(prior)
    cards.write(card, prior)
    shutil.rmtree(prior / "codec")
    with pytest.raises(PriorError, match="codec"):
        counting(prior)


class Three:
    """Three sources, each the same signal always."""

    names = ("drums", "bass", "piano")

    def __init__(self) -> None:
        self.signals = torch.randn(3, 1, 64 * 32, generator=torch.Generator().manual_seed(0))

    def sample(self, rng: np.random.Generator, count: int) -> torch.Tensor:
        return self.signals.expand(count, -1, -1, -1)


def test_any_two_of_three_sources_are_counted(tmp_path: Path, tiny_slakh: Path) -> None:
    folder, chunks = write_lass_prior(tmp_path / "tiny", Three.names), Three()
    job = open_job(folder, tiny_slakh, replace(SETTINGS, pairs=60), None)
    assert job.settings.symmetric
    first, second, mixed = (part.view(60, 32) for part in job.sample(chunks, np.random.default_rng(0)))
    alone = job.codec.encode(chunks.signals)
    seen = set()
    for a, b, m in zip(first, second, mixed, strict=True):
        (i,), (j,) = ((alone == z).all(1).nonzero()[:, 0].tolist() for z in (a, b))
        seen.add((i, j))
        both = 0.5 * (chunks.signals[i] + chunks.signals[j])
        assert torch.equal(job.codec.encode(both[None])[0], m)
    assert seen == {(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)}


def test_counts_of_another_codec_are_not_resumed(
    prior: Path, counting: Callable[..., dict[str, Any]]
) -> None:
    counter = TripleCounter(32)
    counter.add(*torch.zeros(3, 1, dtype=torch.int64))
    (prior / "table").mkdir()
    LikelihoodTable.of(counter, "another").save(prior / "table" / "counts.safetensors")
    with pytest.raises(UsageError, match=r"counts\.safetensors"):
        counting(prior, resume=True)


def test_what_was_pruned_is_read_as_the_nearest_that_was_kept(
    prior: Path, counting: Callable[..., dict[str, Any]]
) -> None:
    counting(prior, replace(SETTINGS, max_nonzeros=20))
    table = LikelihoodTable.load(prior / "table" / "table.safetensors")
    codes = torch.arange(32)
    assert int((counts(prior).support(codes) >= 0).sum()) > len(
        table.support(codes).unique()
    )  # some were pruned away
    assert int(table.support(codes).min()) >= 0


def test_the_nearest_code_that_was_seen(tiny_prior: Path) -> None:
    codebook = load_codec(tiny_prior)[0].quantizer.codebook
    counter = TripleCounter(32)
    seen = torch.tensor([3, 17, 30])
    counter.add(seen, seen, seen)
    near = nearest_seen(codebook, LikelihoodTable.of(counter, ""))
    assert near[seen].tolist() == seen.tolist()
    for code in range(32):
        if code not in seen:
            distances = (codebook[seen] - codebook[code]).norm(dim=-1)
            assert near[code] == seen[distances.argmin()]
