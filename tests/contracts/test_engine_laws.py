"""What every engine obeys; a new engine is a new row of ``ENGINES``."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from loading import engine_of
from tiny_musicgen import make_prior as make_music
from tiny_sound import make_sound
from tiny_tokens import make_tokens
from tiny_waves import make_flow
from torch import Tensor

from sepcli.samplers import names

LASS, SCORE = {"temperature": "0.5"}, {"steps": "2"}


class Case(NamedTuple):
    """Priors, the engine they make, and three mixtures for it."""

    engine: str
    priors: Sequence[str]
    mixture: Tensor
    settings: dict[str, str]
    sampler: str = ""

    @property
    def few(self) -> dict[str, str]:
        """Settings of its own for little work."""
        return {"steps": "1", "levels": "2"} if self.sampler == "langevin" else self.settings

    def make(self, sampler: str | None = None, settings: dict[str, Any] | None = None) -> Any:
        """Make the engine; by default with the case's own sampler and settings."""
        weights = (0.5, 0.5) if len(self.priors) == 1 and self.engine == "score" else None
        priors = self.priors[0] if len(self.priors) == 1 else list(self.priors)
        options = self.few if settings is None else settings
        return engine_of(priors, weights, sampler=sampler or self.sampler, settings=options)


def _noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def _audio(samples: int) -> Tensor:
    return 0.2 * _noise(3, 1, samples) - 0.1


class Folders(NamedTuple):
    """Where a case finds a LASS prior of audio and a score prior of images, and an empty folder."""

    lass: Path
    images: Path
    empty: Path


def _sounds(folder: Path) -> list[str]:
    return [make_sound(folder / name, name) for name in ("violin", "cello")]


def _flows(folder: Path) -> list[str]:
    return [make_flow(folder / name, name, std=std) for name, std in (("sine", 0.5), ("square", 0.2))]


def _music(folder: Path) -> list[str]:
    return [make_music(folder / name, name, seed) for seed, name in enumerate(("drums", "bass"), 1)]


KINDS: dict[str, tuple[str, Callable[[Folders], Case]]] = {
    "lass, audio": ("token", lambda at: Case("lass", [str(at.lass)], _audio(500), LASS)),
    "lass, images": (
        "token",
        lambda at: Case("lass", [str(make_tokens(at.empty / "tokens"))], _noise(3, 1, 8, 8), LASS),
    ),
    "lass, codebooks": ("token", lambda at: Case("lass", _music(at.empty), _audio(400), LASS)),
    "score, images": ("signal", lambda at: Case("score", [str(at.images)], _noise(3, 1, 12, 12), SCORE)),
    "score, audio": ("signal", lambda at: Case("score", _sounds(at.empty), _audio(640), SCORE)),
    "score, flows": ("signal", lambda at: Case("score", _flows(at.empty), _audio(512), SCORE)),
}
"""Engine and medium → the domain of its samplers, and a case."""
SOME = {"score, flows": ("projected", "langevin"), "lass, codebooks": ("ancestral", "greedy", "top-k")}
"""Engine and medium → its samplers in these tests: others of flows take long; codebooks have no beam."""
ENGINES = {
    f"{kind}, {sampler}": (kind, sampler)
    for kind, (domain, _) in KINDS.items()
    for sampler in names(domain)
    if sampler in SOME.get(kind, (sampler,))
}
"""Name → kind and sampler."""


@pytest.fixture(params=ENGINES.values(), ids=ENGINES.keys())
def case(request: pytest.FixtureRequest, tiny_prior: Path, tiny_images: Path, tmp_path: Path) -> Case:
    kind, sampler = request.param
    return KINDS[kind][1](Folders(tiny_prior, tiny_images, tmp_path))._replace(sampler=sampler)


def test_samples_are_sources_on_the_cpu(case: Case) -> None:
    engine, x = case.make(), case.mixture
    before = x.clone()
    samples = engine.sample(x, torch.arange(6).view(3, 2))
    assert len(engine.names) == len(engine.weights) == 2
    assert samples.shape == (3, 2, 2, *x.shape[1:])
    assert (samples.dtype, samples.device.type) == (torch.float32, "cpu")
    assert bool(samples.isfinite().all())
    assert torch.equal(x, before)
    assert engine.channels in (None, x.shape[1])
    assert (engine.sample_rate == 0) == (x.dim() == 4)
    assert engine.evaluations >= 1
    assert engine.interference_trained in (False, True)


def test_a_sample_depends_on_its_own_mixture_and_seed(case: Case) -> None:
    engine, x, seeds = case.make(), case.mixture, torch.arange(6).view(3, 2)
    together = engine.sample(x, seeds)
    assert torch.equal(together, engine.sample(x, seeds))
    for item in range(3):
        alone = engine.sample(x[item : item + 1], seeds[item : item + 1])
        torch.testing.assert_close(alone, together[item : item + 1], atol=1e-4, rtol=0)
    if case.sampler not in ("greedy", "beam"):
        swapped = engine.sample(x, seeds.flip(1)).flip(1)
        torch.testing.assert_close(swapped, together, atol=1e-4, rtol=0)
        assert not torch.equal(together, engine.sample(x, seeds + 100))
        assert not torch.equal(together[:, 0], together[:, 1])


def test_samples_and_progress_do_not_depend_on_the_threads(case: Case, four_threads: int) -> None:
    engine, x, seeds = case.make(), case.mixture, torch.arange(6).view(3, 2)
    steps: list[tuple[int, int]] = []
    several = engine.sample(x, seeds, lambda done, total: steps.append((done, total)))
    assert torch.get_num_threads() == four_threads
    assert steps == sorted(steps)
    assert steps[-1][0] <= steps[-1][1]
    torch.set_num_threads(1)
    torch.testing.assert_close(several, engine.sample(x, seeds), atol=1e-4, rtol=0)


def test_log_priors_are_per_item(case: Case) -> None:
    engine = case.make()
    sources = engine.sample(case.mixture, torch.arange(3)[:, None])[:, 0]
    values = engine.log_prior(sources)
    assert values.shape == (3,)
    torch.testing.assert_close(engine.log_prior(sources[1:2]), values[1:2], atol=1e-2, rtol=1e-4)


def test_progress_rises_to_the_end(case: Case) -> None:
    steps: list[tuple[int, int]] = []
    case.make().sample(
        case.mixture, torch.arange(3)[:, None], lambda done, total: steps.append((done, total))
    )
    assert steps == sorted(steps)
    assert len({total for _, total in steps}) == 1
    assert 0.99 * steps[-1][1] <= steps[-1][0] <= steps[-1][1]


def test_what_is_described_is_what_runs(case: Case) -> None:
    engine = case.make()
    record = json.loads(json.dumps(engine.describe()))
    assert (record["engine"], record["sampler"], record["device"]) == (case.engine, case.sampler, "cpu")
    assert {key: str(record["settings"][key]) for key in case.few} == case.few
    again = case.make(record["sampler"], record["settings"])
    seeds = torch.arange(6).view(3, 2)
    assert torch.equal(engine.sample(case.mixture, seeds), again.sample(case.mixture, seeds))
    assert again.describe() == engine.describe()
