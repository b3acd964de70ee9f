"""Mixing, separating and scoring items; stopping and going on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from fake_engine import FakeEngine
from torch import Tensor

from sepcli.datasets.pair_folder import BUILTIN, Pair, PairFolder, builtin
from sepcli.errors import InputError, OutputError, SepError
from sepcli.evaluation.estimates import refine_as
from sepcli.evaluation.report import Report
from sepcli.evaluation.run import run
from sepcli.evaluation.samples import mix
from sepcli.evaluation.score import TrackScore
from sepcli.evaluation.tasks.pairs import Pairs
from sepcli.media.audio import AudioReader
from sepcli.metrics.audio import usdr
from sepcli.protocols import ProgressCallback
from sepcli.separation.levels import measure_gain
from sepcli.separation.seeds import item_seed
from sepcli.separation.settings import StreamSettings

RATE = 8000


@dataclass
class FakeSeparator(FakeEngine):
    """The mixture plus a little noise that depends on the seed, for every source."""

    names: tuple[str, ...] = ("drums", "bass")
    weights: tuple[float, ...] = (0.5, 0.5)
    sample_rate: int = RATE
    batches: list[int] = field(default_factory=list)
    """Sizes of the batches so far."""
    fail_at: int | None = None
    """Raise KeyboardInterrupt at this call."""

    def sample(self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None) -> Tensor:
        if self.fail_at == len(self.batches):
            raise KeyboardInterrupt
        self.batches.append(mixture.shape[0])
        draws = torch.empty(*seeds.shape, len(self.names), *mixture.shape[1:])
        for b, row in enumerate(seeds):
            for s, seed in enumerate(row):
                rng = torch.Generator().manual_seed(int(seed))
                draws[b, s] = mixture[b] + 0.01 * torch.randn(draws.shape[2:], generator=rng)
        if on_progress is not None:
            on_progress(1, 2)
            on_progress(2, 2)
        return draws


def write_items(folder: Path, count: int = 5, seconds: float = 2.0, rate: int = RATE) -> Path:
    """Tones as bass, noise as drums."""
    rng = np.random.default_rng(0)
    t = np.arange(int(seconds * rate)) / rate
    for item in range(count):
        signals = {
            "bass": 0.3 * np.sin(2 * np.pi * (100 + 10 * item) * t),
            "drums": rng.uniform(-0.3, 0.3, t.size),
        }
        for stem, signal in signals.items():
            (folder / stem).mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / stem / f"{item:03d}.flac", signal, rate)
    return folder


def _pairs(count: int = 5) -> list[Pair]:
    rng = np.random.default_rng(1)
    return [
        Pair(f"{i}", rng.uniform(-0.5, 0.5, (2, RATE + 100 * (i > 3))).astype(np.float32), RATE)
        for i in range(count)
    ]


@dataclass(frozen=True)
class Listed:
    """Items in memory."""

    pairs: list[Pair]

    def ids(self, names: Sequence[str]) -> list[str]:
        return [pair.id for pair in self.pairs]

    def items(self, names: Sequence[str], seed: int) -> Iterator[Pair]:
        return iter(self.pairs)

    def files(self, names: Sequence[str]) -> list[Path]:
        return []

    def describe(self, names: Sequence[str], seed: int) -> str:
        return "listed"

    def notes(self, names: Sequence[str]) -> tuple[str, ...]:
        return ()


def _scores(
    pairs: list[Pair] | None = None,
    separator: FakeSeparator | None = None,
    draws: int = 1,
    level: float | None = None,
    refined: bool = False,
    **options: Any,
) -> dict[str, list[TrackScore]]:
    consistency: Any = "wiener" if refined else "none"
    stream = StreamSettings(samples=draws, reference_rms=level, consistency=consistency)
    task = Pairs(Listed(pairs or _pairs()), separator or FakeSeparator(), stream=stream)
    found: dict[str, list[TrackScore]] = {}
    for score in run(task, ["sdr"], **options).scores:
        found.setdefault(score.track, []).append(score)
    return found


def evaluate_dataset(
    folder: Path, separator: FakeSeparator, metrics: list[str], methods: Sequence[str] = (), **options: Any
) -> Report:
    return run(Pairs(PairFolder(folder), separator, methods), metrics, **options)


def test_rows_and_order() -> None:
    scores = _scores(refined=True)
    assert list(scores) == ["0", "1", "2", "3", "4"]
    assert [(s.method, s.stem) for s in scores["0"]] == [
        (method, stem)
        for method in ("sepcli", "sepcli raw", "average", "oracle mask")
        for stem in ("drums", "bass")
    ]


def test_what_estimates_lack_is_shared_by_masks_where_they_are_kept() -> None:
    draws = torch.randn(2, 2, RATE, generator=torch.Generator().manual_seed(0))
    lacking = torch.randn(1, RATE, generator=torch.Generator().manual_seed(1))
    mean = draws.mean(dim=0)
    refine = refine_as(RATE, StreamSettings(consistency="residual"), (0.5, 0.5))
    assert refine is not None
    exact = refine(draws, mean.sum(dim=0)[None])
    torch.testing.assert_close(exact[:, 0], mean, atol=1e-5, rtol=0)
    parts = refine(draws, mean.sum(dim=0) + lacking)
    torch.testing.assert_close(parts.sum(dim=0), mean.sum(dim=0) + lacking, atol=1e-5, rtol=0)
    masks = refine_as(RATE, StreamSettings(), (0.5, 0.5))
    assert masks is not None
    torch.testing.assert_close(parts - mean[:, None], masks(draws, lacking), atol=1e-5, rtol=0)


def test_what_estimates_lack_is_shared_by_weight_where_they_are_projected() -> None:
    draws = torch.randn(2, 2, RATE, generator=torch.Generator().manual_seed(0))
    mixture = torch.randn(1, RATE, generator=torch.Generator().manual_seed(1))
    refine = refine_as(RATE, StreamSettings(consistency="project"), (2.0, 1.0))
    assert refine is not None
    lacking = mixture - draws.mean(dim=0).sum(dim=0)
    moved = refine(draws, mixture)[:, 0] - draws.mean(dim=0)
    torch.testing.assert_close(moved, lacking * torch.tensor([[0.8], [0.2]]), atol=1e-5, rtol=0)
    assert refine_as(RATE, StreamSettings(consistency="none"), (0.5, 0.5)) is None


def test_items_do_not_depend_on_their_batch() -> None:
    one, three = FakeSeparator(), FakeSeparator()
    assert _scores(batch=1, separator=one) == _scores(batch=3, separator=three)
    assert one.batches == [1, 1, 1, 1, 1]
    assert three.batches == [3, 1, 1]  # the last item is longer


def test_items_can_be_heard_as_they_were_scored(tmp_path: Path) -> None:
    items = write_items(tmp_path / "items", 3)
    report = evaluate_dataset(items, FakeSeparator(), ["usdr"], methods=["hpss"], seed=3, batch=2)
    assert report.seeds["001"] == item_seed(3, 1)
    assert report.clips_of is not None
    clips = report.clips_of("001")
    rows = ["mixture", *(row for row in ("reference", "sepcli", "sepcli raw", "hpss") for _ in range(2))]
    assert [clip.row for clip in clips] == rows
    heard = {(clip.row, clip.stem): clip.signal for clip in clips}
    for row in ("sepcli", "sepcli raw", "hpss"):
        for stem in ("drums", "bass"):
            (scored,) = [s.value for s in report.scores if (s.track, s.method, s.stem) == ("001", row, stem)]
            assert usdr(heard["reference", stem], heard[row, stem]) == pytest.approx(scored, abs=0.05)


def test_seeds_matter_and_more_draws_keep_the_first() -> None:
    assert _scores(seed=0) != _scores(seed=1)
    assert _scores(draws=1) == _scores(draws=3)  # without refinement only the first draw is scored


def test_level_is_undone() -> None:
    class Linear(FakeSeparator):
        def sample(
            self, mixture: torch.Tensor, seeds: torch.Tensor, on_progress: object = None
        ) -> torch.Tensor:
            second = mixture[..., :RATE]
            rms = second.square().mean(dim=-1).sqrt()
            torch.testing.assert_close(rms, torch.full_like(rms, 0.1), rtol=0.1, atol=0)
            return mixture[:, None, None].expand(-1, seeds.shape[1], 2, -1, -1)

    for scores in _scores(level=0.1, separator=Linear()).values():
        values = {(s.method, s.stem): s.value for s in scores}
        for stem in ("drums", "bass"):
            assert values["sepcli raw", stem] == pytest.approx(values["average", stem], abs=1e-4)


@pytest.mark.parametrize("kind", ["noise", "pauses", "clicks", "silence"])
def test_the_level_is_that_of_separate(tmp_path: Path, kind: str) -> None:
    rng = np.random.default_rng(2)
    signal = 0.3 * rng.standard_normal(3 * RATE + 700).astype(np.float32).clip(-2, 2)
    if kind == "pauses":
        signal[RATE : 3 * RATE] = 0
    elif kind == "clicks":
        signal[np.arange(len(signal)) % 4000 != 0] = 0
    elif kind == "silence":
        signal[:] = 0
    soundfile.write(tmp_path / "mix.wav", signal, RATE, subtype="FLOAT")
    heard: list[float] = []

    class Listening(FakeSeparator):
        def sample(
            self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None
        ) -> Tensor:
            heard.append(float(mixture.abs().max()))
            return super().sample(mixture, seeds, on_progress)

    pair = Pair("one", np.stack([signal, signal]), RATE)
    _scores([pair], Listening(), level=0.1)
    expected = measure_gain(AudioReader(tmp_path / "mix.wav"), 0.1) * np.abs(signal).max()
    assert heard == [pytest.approx(expected, rel=1e-4)]


def test_estimates_that_went_astray_have_no_score() -> None:
    class Astray(FakeSeparator):
        def sample(
            self, mixture: Tensor, seeds: Tensor, on_progress: ProgressCallback | None = None
        ) -> Tensor:
            draws = super().sample(mixture, seeds, on_progress)
            draws[-1, 0, 1, 0, 5] = torch.nan
            return draws

    with pytest.raises(SepError, match=r"\b1\b"):
        _scores(batch=2, separator=Astray())


def test_finished_batches_are_not_separated_again(tmp_path: Path) -> None:
    whole, journal = _scores(batch=2, journal=tmp_path / "journal"), tmp_path / "journal"
    again = FakeSeparator()
    head, first, second, _ = journal.read_text().splitlines()
    part = {track: scores for track, scores in json.loads(second).items() if track == "2"}
    journal.write_text("\n".join([head, first, json.dumps(part), ""]))  # the second batch is not whole
    assert _scores(batch=2, separator=again, journal=journal) == whole
    assert again.batches == [2, 1]


def test_progress_ends_at_the_total() -> None:
    told: list[tuple[int, int]] = []
    _scores(batch=2, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (5000, 5000)
    assert told == sorted(told)
    assert all(total == 5000 for _, total in told)


def test_items_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match=r"(?=.*\b2\b)(?=.*\b3\b)"):
        _scores(separator=FakeSeparator(("a", "b", "c"), (1.0, 1.0, 1.0)))
    with pytest.raises(InputError, match=r"(?=.*8000)(?=.*44100)"):
        _scores(separator=FakeSeparator(sample_rate=44100))


def test_mix_weighs() -> None:
    torch.testing.assert_close(
        mix(torch.tensor([[1.0, 2.0], [10.0, 20.0]]), (0.5, 0.1)), torch.tensor([1.5, 3.0])
    )


def test_a_stopped_run_goes_on_to_the_same_report(tmp_path: Path) -> None:
    data, journal = write_items(tmp_path / "items"), tmp_path / "journal"
    whole = evaluate_dataset(data, FakeSeparator(), ["sdr", "usdr"], batch=2)
    with pytest.raises(KeyboardInterrupt):
        evaluate_dataset(data, FakeSeparator(fail_at=2), ["sdr", "usdr"], batch=2, journal=journal)
    rest = FakeSeparator()
    assert evaluate_dataset(data, rest, ["sdr", "usdr"], batch=2, journal=journal) == whole
    assert rest.batches == [1]


def test_a_journal_of_other_settings_is_refused(tmp_path: Path) -> None:
    data, journal = write_items(tmp_path / "items", 2), tmp_path / "journal"
    evaluate_dataset(data, FakeSeparator(), ["sdr"], journal=journal)
    with pytest.raises(OutputError, match=re.escape(str(journal))):
        evaluate_dataset(data, FakeSeparator(), ["sdr"], seed=1, journal=journal)
    evaluate_dataset(data, FakeSeparator(), ["sdr"], seed=1, journal=journal, replace_journal=True)


def test_a_journal_of_other_items_of_the_same_names_is_refused(tmp_path: Path) -> None:
    one, two, journal = (
        write_items(tmp_path / "a" / "items", 2),
        tmp_path / "b" / "items",
        tmp_path / "journal",
    )
    write_items(two, 2, seconds=3.0)
    evaluate_dataset(one, FakeSeparator(), ["sdr"], journal=journal)
    with pytest.raises(OutputError, match=re.escape(str(journal))):
        evaluate_dataset(two, FakeSeparator(), ["sdr"], journal=journal)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError):
        evaluate_dataset(tmp_path, FakeSeparator(), ["sdr"])


def test_the_builtin_set_is_as_described() -> None:
    items = list(builtin().items(("drums", "bass")))
    assert len(items) == 10
    for item in items:
        assert item.sample_rate == 22050
        assert item.sources.shape == (2, 3 * 22050)
        seconds = item.sources.reshape(2, 3, 22050)
        assert (np.sqrt(np.mean(seconds**2, axis=-1)) > 0.02).all()
    assert "BSD" in (BUILTIN / "README.md").read_text()
