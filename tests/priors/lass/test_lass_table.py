"""The likelihood table: counting, smoothing, pruning, files."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from sepcli.errors import InputError, OutputError, PriorError
from sepcli.priors.lass.table import Coverage, LikelihoodTable, TripleCounter
from sepcli.priors.lass.table.counts import Counts

COUNTED = """
import resource
import psutil
import torch
from sepcli.priors.lass.table import LikelihoodTable, TripleCounter

def count(codes, batch):
    counter = TripleCounter(codes, buffer=30_000)
    for _ in range(4):
        counter.add(*torch.randint(codes, (3, batch)))
    return LikelihoodTable.of(counter, "hash")

torch.set_num_threads(1)
count(6, 25_000)
room = psutil.Process().memory_info().vms + 200_000_000
resource.setrlimit(resource.RLIMIT_AS, (room, room))
try:
    torch.empty(16_384, 16_384, dtype=torch.uint8)
except RuntimeError:
    print(count(16_384, 25_000).nonzeros)
"""
"""A process with 200 MB to spare, where not even bytes for all pairs of 16,384 codes can be had; torch's
memory is not among what ``tracemalloc`` sees."""


def tokens(codes: int, shape: tuple[int, ...] = (4, 300), seed: int = 0) -> list[Tensor]:
    """z_1, z_2 and a noisy z_m = z_1 + z_2."""
    g = torch.Generator().manual_seed(seed)
    a, b = ((torch.rand(shape, generator=g) ** 2 * codes).long() for _ in range(2))
    return [a, b, (a + b + torch.randint(0, 2, shape, generator=g)) % codes]


def count(
    codes: int, *batches: list[Tensor], symmetric: bool = False, buffer: int = 1 << 22
) -> LikelihoodTable:
    counter = TripleCounter(codes, symmetric=symmetric, buffer=buffer)
    for batch in batches:
        counter.add(*batch)
    return LikelihoodTable.of(counter, "hash")


def every(codes: int) -> list[Tensor]:
    """All (a, b, m)."""
    return list(torch.cartesian_prod(*[torch.arange(codes)] * 3).unbind(-1))


def assert_same(one: LikelihoodTable, two: LikelihoodTable) -> None:
    assert torch.equal(one.joint.counts.keys, two.joint.counts.keys)
    assert torch.equal(one.joint.counts.values, two.joint.counts.values)
    assert one.pairs == two.pairs
    codes = every(one.vocabulary)
    assert torch.equal(one.log_likelihood(*codes), two.log_likelihood(*codes))


@pytest.mark.parametrize("buffer", [1, 500, 1 << 22])
def test_counts_are_right_however_they_are_buffered(buffer: int) -> None:
    batches = [tokens(6, seed=s) for s in range(4)]
    table = count(6, *batches, buffer=buffer)
    expected = Counter(
        (m, a, b) for z in batches for a, b, m in zip(*(x.flatten().tolist() for x in z), strict=True)
    )
    keys, values = table.joint.counts.keys, table.joint.counts.values
    assert {
        (k // 36, k // 6 % 6, k % 6): n for k, n in zip(keys.tolist(), values.tolist(), strict=True)
    } == expected
    assert table.pairs == 4800
    assert table.density == pytest.approx(100 * len(expected) / 216)


def test_counting_may_go_on() -> None:
    counter = TripleCounter(6)
    counter.add(*tokens(6, seed=0))
    counter.triples()
    counter.add(*tokens(6, seed=1))
    assert_same(LikelihoodTable.of(counter, "hash"), count(6, tokens(6, seed=0), tokens(6, seed=1)))


def test_merging_is_counting_all_in_any_order() -> None:
    batches = [tokens(6, seed=s) for s in range(3)]
    whole, parts = count(6, *batches), [count(6, b) for b in batches]
    assert_same(LikelihoodTable.merge(parts), whole)
    assert_same(LikelihoodTable.merge(parts[::-1]), whole)


def test_merging_refuses_strangers() -> None:
    table = count(6, tokens(6))
    for other in (count(7, tokens(6)), replace(table, codec="other"), count(6, tokens(6), symmetric=True)):
        with pytest.raises(InputError):
            LikelihoodTable.merge([table, other])
    with pytest.raises(InputError):
        LikelihoodTable.merge([table, table.prune(10)])
    with pytest.raises(InputError):
        LikelihoodTable.merge([])


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kept", [None, (40, None), (40, 12), (1, 1)])
@pytest.mark.parametrize("beta", [0.01, 3.0])
def test_smoothed_conditionals_sum_to_one(symmetric: bool, kept: tuple[int, int] | None, beta: float) -> None:
    table = replace(count(9, tokens(8), symmetric=symmetric), beta=beta)
    if kept is not None:
        table = table.prune(*kept, per_code=2)
    p = table.log_likelihood(*every(9)).exp().view(9, 9, 9)
    assert torch.allclose(p.sum(-1), torch.ones(9, 9), atol=1e-5)
    assert p.min() > 0


def test_smoothing_is_the_formula() -> None:
    z = tokens(5)
    table = replace(count(5, z), beta=2.0)
    dense = torch.zeros(5, 5, 5, dtype=torch.float64).index_put_(
        tuple(x.flatten() for x in z), torch.tensor(1.0, dtype=torch.float64), accumulate=True
    )
    n_m = dense.sum((0, 1))
    p_m = (n_m + 0.5) / (n_m.sum() + 2.5)
    p_a, p_b = dense.sum(1) / dense.sum((1, 2))[:, None], dense.sum(0) / dense.sum((0, 2))[:, None]
    coarse = 0.5 * p_a[:, None] + 0.4 * p_b[None] + 0.1 * p_m
    expected = (dense + 2.0 * coarse) / (dense.sum(2, keepdim=True) + 2.0)
    assert torch.allclose(table.log_likelihood(*every(5)).view(5, 5, 5), expected.log().float(), atol=1e-5)


def test_symmetric_tables_do_not_know_first_from_second() -> None:
    table = count(6, tokens(6), symmetric=True)
    a, b, m = every(6)
    assert torch.equal(table.log_likelihood(a, b, m), table.log_likelihood(b, a, m))
    assert table.pairs == 1200
    assert table.joint.counts.total == 2400


def test_coverage_of_known_data() -> None:
    table = count(5, [torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([3, 4])])
    held_out = [torch.tensor([0, 1, 0, 4]), torch.tensor([1, 2, 1, 4]), torch.tensor([3, 3, 4, 0])]
    assert table.coverage(*held_out) == Coverage(codes=0.75, triples=0.25, pairs=0.75)
    with pytest.raises(InputError):
        table.coverage(*[torch.zeros(0, dtype=torch.int64)] * 3)


def test_beta_is_small_for_plenty_and_large_for_little() -> None:
    rich = count(6, tokens(6, (400_000,)))
    poor = count(60, tokens(60, (200,)))
    assert rich.fit_beta(*tokens(6, (5000,), seed=1)) < poor.fit_beta(*tokens(60, (5000,), seed=1))
    held_out = tokens(60, (5000,), seed=1)
    fitted = replace(poor, beta=poor.fit_beta(*held_out)).log_likelihood(*held_out).mean()
    assert fitted >= max(replace(poor, beta=b).log_likelihood(*held_out).mean() for b in (0.01, 1.0, 1000.0))


def test_candidates_are_the_slice() -> None:
    table = count(6, tokens(6))
    listed, log_lik = table.candidates(torch.tensor([4, 1]), 1000)
    for row, m in enumerate((4, 1)):
        real = log_lik[row] > -torch.inf
        keys = table.joint.counts.keys
        pairs = keys[keys // 36 == m] % 36
        assert torch.equal(listed[row, real] @ torch.tensor([6, 1]), pairs)
        expected = table.log_likelihood(*listed[row, real].unbind(-1), torch.full_like(pairs, m))
        assert torch.allclose(log_lik[row, real], expected)


def test_too_many_candidates_leave_the_most_counted() -> None:
    a, b = torch.tensor([0, 1, 2, 2, 3, 3, 3]), torch.tensor([0, 1, 2, 2, 3, 3, 3])
    listed, _ = count(4, [a, b, torch.zeros(7, dtype=torch.int64)]).candidates(torch.tensor([0]), 3)
    assert listed[0, :, 0].tolist() == [0, 2, 3]  # of the two pairs counted once, the first


def test_an_unseen_code_is_read_as_its_nearest_or_says_nothing() -> None:
    table = count(6, [torch.tensor([0, 1, 1]), torch.tensor([2, 3, 3]), torch.tensor([4, 5, 5])])
    listed, log_lik = table.candidates(torch.tensor([0]), 1)
    assert listed.tolist() == [[[1, 3]]]
    assert log_lik.tolist() == [[0.0]]
    near = replace(table, nearest=torch.tensor([4, 4, 4, 4, 4, 5]))
    assert near.support(torch.tensor([0, 5])).tolist() == [4, 5]
    for got, expected in zip(
        near.candidates(torch.tensor([0]), 9), table.candidates(torch.tensor([4]), 9), strict=True
    ):
        assert torch.equal(got, expected)


def test_pruning_keeps_the_best_and_the_support() -> None:
    table = count(20, tokens(20, (3000,)))
    small = table.prune(60, per_code=1)
    assert small.nonzeros == 60
    assert small.pruned
    assert not table.pruned
    steps = small.joint.offsets(20).diff()
    assert ((steps > 0) == (table.joint.offsets(20).diff() > 0)).all()
    dropped = ~torch.isin(table.joint.counts.keys, small.joint.counts.keys)
    best_dropped = table.joint.counts.values[dropped].max()
    weak = small.joint.counts.values < best_dropped
    assert int(weak.sum()) <= 20
    a, b, m = every(20)
    unknown = ~torch.isin(a * 20 + b, small.joint.contexts.keys)
    assert torch.equal(small.coarse.probability(a, b, m), table.coarse.probability(a, b, m))
    assert torch.allclose(
        small.log_likelihood(a, b, m)[unknown], table.coarse.probability(a, b, m)[unknown].log()
    )


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("kept", [None, (40, None), (40, 10)])
def test_files_bring_the_table_back(tmp_path: Path, symmetric: bool, kept: tuple[int, int] | None) -> None:
    table = replace(count(6, tokens(6), symmetric=symmetric), beta=0.3, nearest=torch.arange(6))
    table = table if kept is None else table.prune(*kept, per_code=1)
    table.save(tmp_path / "table.safetensors")
    back = LikelihoodTable.load(tmp_path / "table.safetensors")
    assert_same(back, table)
    assert (back.codec, back.symmetric, back.beta, back.pruned) == ("hash", symmetric, 0.3, kept is not None)
    assert back.nearest is not None
    assert [p.name for p in tmp_path.iterdir()] == ["table.safetensors"]


@pytest.mark.parametrize("symmetric", [False, True])
def test_compressed_files_bring_the_table_back_in_fewer_bytes(tmp_path: Path, symmetric: bool) -> None:
    table = count(60, tokens(60, (3000,)), symmetric=symmetric).prune(1200, 300, per_code=1)
    table.save(tmp_path / "plain")
    table.save(tmp_path / "table", compress=True)
    assert_same(LikelihoodTable.load(tmp_path / "table"), table)
    assert_same(LikelihoodTable.load(tmp_path / "table"), LikelihoodTable.load(tmp_path / "plain"))
    plain, small = ((tmp_path / name).stat().st_size for name in ("plain", "table"))
    assert small < 0.8 * plain


@pytest.mark.parametrize(
    ("harm", "match"),
    [
        (lambda tensors, packed: tensors.pop("joint.step"), "describe"),
        (lambda tensors, packed: packed.pop("joint.step"), "describe"),
        (lambda tensors, packed: packed.update({"joint.step": 3}), "describe"),
        (lambda tensors, packed: packed.update({"joint.step": ["nonsense", 3]}), "describe"),
        (lambda tensors, packed: packed.update({"joint.step": ["float32", 3]}), "impossible"),
        (lambda tensors, packed: packed.update({"joint.step": ["int64", 1 << 40]}), "impossible"),
        (lambda tensors, packed: packed.update({"joint.step": ["uint8", 3]}), "cut short"),
        (lambda tensors, packed: packed.update({"joint.step": ["int64", 999]}), "cut short"),
        (lambda tensors, packed: tensors.update({"joint.step": tensors["joint.step"][:-3]}), "cut short"),
        (lambda tensors, packed: tensors.update({"joint.step": tensors["joint.step"][3:]}), "decompressed"),
        (lambda tensors, packed: tensors.update({"joint.step": torch.zeros(3).bfloat16()}), "integers"),
    ],
)
def test_damaged_streams_are_refused(tmp_path: Path, harm: Callable[..., object], match: str) -> None:
    path = tmp_path / "table.safetensors"
    count(6, tokens(6)).save(path, compress=True)
    with safe_open(path, framework="pt") as file:
        told, tensors = file.metadata(), {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    packed = json.loads(told["packed"])
    harm(tensors, packed)
    save_file(tensors, path, {**told, "packed": json.dumps(packed)})
    with pytest.raises(PriorError, match=match):
        LikelihoodTable.load(path)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("joint.step", lambda x: x * 0),
        ("joint.step", lambda x: -x.to(torch.int16)),
        ("joint.step", lambda x: x[:-1]),
        ("joint.step", lambda x: x.to(torch.int64) + 216),
        ("joint.step", lambda x: x.to(torch.int64) + (1 << 60)),
        ("joint.count", lambda x: x * 0),
        ("joint.count", lambda x: x + 1),
        ("joint.count", lambda x: x.float()),
        ("joint.total", lambda x: x * 0),
        ("first.total", lambda x: x[:-1]),
        ("unigram", lambda x: x + 1),
        ("unigram", lambda x: x[:-1]),
        ("nearest", lambda x: x + 6),
        ("second.step", None),
    ],
)
def test_tampered_files_are_refused(tmp_path: Path, name: str, change: object) -> None:
    path = tmp_path / "table.safetensors"
    replace(count(6, tokens(6)), nearest=torch.arange(6)).prune(40, 10, per_code=1).save(path)
    with safe_open(path, framework="pt") as file:
        told = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    tensors[name] = change(tensors[name]).contiguous() if callable(change) else tensors.pop(name)[:0]
    if change is None:
        del tensors[name]
    save_file(tensors, path, told)
    with pytest.raises(PriorError, match=re.escape(path.name)) as caught:
        LikelihoodTable.load(path)
    assert "build-likelihood" in caught.value.hint


@pytest.mark.parametrize(
    ("told", "match"),
    [
        ({"version": "9"}, r"\b9\b"),
        ({"format": "other"}, r"table\.safetensors"),
        ({"vocabulary": "many"}, "vocabulary"),
        ({"vocabulary": "0"}, "vocabulary"),
        ({"beta": "nan"}, r"\bbeta\b"),
        ({"pairs": "7"}, r"table\.safetensors"),
    ],
)
def test_files_with_other_metadata_are_refused(tmp_path: Path, told: dict[str, str], match: str) -> None:
    path = tmp_path / "table.safetensors"
    count(6, tokens(6)).save(path)
    with safe_open(path, framework="pt") as file:
        before = file.metadata()
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    save_file(tensors, path, before | told)
    with pytest.raises(PriorError, match=match):
        LikelihoodTable.load(path)


def test_missing_broken_and_unwritable_files(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match=r"none\.safetensors"):
        LikelihoodTable.load(tmp_path / "none.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"not a table")
    with pytest.raises(PriorError, match=r"broken\.safetensors"):
        LikelihoodTable.load(tmp_path / "broken.safetensors")
    with pytest.raises(OutputError, match=r"folder\.safetensors"):
        count(6, tokens(6)).save(tmp_path / "no" / "folder.safetensors")


def test_large_numbers_survive_narrow_types(tmp_path: Path) -> None:
    rare = torch.tensor([0, 1, 40_000, 40_001, 16_384**2 * 9, 16_384**3 - 1])
    counts = Counts(rare, torch.tensor([1, 254, 255, 256, 32_768, 1 << 33]))
    table = LikelihoodTable.from_triples(counts, 16_384, "hash", counts.total, symmetric=False)
    table.save(tmp_path / "table.safetensors")
    back = LikelihoodTable.load(tmp_path / "table.safetensors").joint.counts
    assert torch.equal(back.keys, rare)
    assert torch.equal(back.values, counts.values)


@pytest.mark.skipif(sys.platform != "linux", reason="limits of memory bind on Linux only")
def test_a_large_vocabulary_is_counted_where_a_square_has_no_room() -> None:
    done = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 90_000


def test_a_large_vocabulary_costs_what_was_seen() -> None:
    table = count(16_384, *(tokens(16_384, (25_000,), seed=s) for s in range(4)), buffer=30_000)
    assert table.nonzeros > 90_000
    assert table.nbytes < 40e6
    listed, log_lik = table.candidates(torch.tensor([0, 16_383]), 64)
    assert torch.isfinite(log_lik).any(1).all()
    assert listed.max() < 16_384


def test_bad_tokens_are_refused() -> None:
    counter = TripleCounter(4)
    one = torch.tensor([1, 2])
    for bad in (torch.tensor([1, 4]), torch.tensor([-1, 0])):
        with pytest.raises(InputError, match=r"(?=.*\b0\b)(?=.*\b3\b)"):
            counter.add(one, bad, one)
    with pytest.raises(InputError, match=r"\(1,\)"):
        counter.add(one, one[:1], one)
    with pytest.raises(InputError):
        LikelihoodTable.of(counter, "hash")
    with pytest.raises(InputError, match=r"\b0\b"):
        TripleCounter(0)
