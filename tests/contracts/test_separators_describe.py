"""Every separator says what runs: a sampler's name as on the command line, and typed settings."""

from __future__ import annotations

from pathlib import Path

import pytest
from loading import colorizer_of, engine_of
from tiny_sound import make_sound
from tiny_tokens import make_tokens

from sepcli.baselines.engine import BaselineEngine
from sepcli.samplers import names as sampler_names
from sepcli.samplers.ancestral import Ancestral
from sepcli.samplers.construct import describe_sampler
from sepcli.samplers.projected import Projected

WORDS = {"lass": {"temperature": "0.5"}, "score": {"steps": "3"}}


def check(found: dict[str, object], sampler: str, **expected: object) -> None:
    settings = found["settings"]
    assert isinstance(settings, dict)
    assert found["sampler"] == sampler
    assert all(
        isinstance(v, bool | int | float) or (k, v) in (("eta", "ancestral"), ("moments", "diagonal"))
        for k, v in settings.items()
    )
    assert {key: settings[key] for key in expected} == expected


@pytest.mark.parametrize("sampler", sampler_names("signal"))
def test_score_separators(tiny_images: Path, tiny_colors: Path, tmp_path: Path, sampler: str) -> None:
    image = engine_of([str(tiny_images)], (0.5, 0.5), sampler=sampler, settings=WORDS["score"])
    check(image.describe(), sampler, steps=3, compile=False)
    colors = colorizer_of(str(tiny_colors), (1 / 3,) * 3, sampler=sampler, settings=WORDS["score"])
    check(colors.describe(), sampler, steps=3, hint_sigma=0.05)
    sounds = [make_sound(tmp_path / name, name) for name in ("violin", "cello")]
    audio = engine_of(sounds, sampler=sampler, settings=WORDS["score"])
    check(audio.describe(), sampler, steps=3)
    settings = audio.describe()["settings"]
    assert ("candidates" in settings) == ("local" in settings) == (sampler == "halving")
    assert "other" not in settings
    beside = engine_of(sounds, other=True, sampler="projected", settings={"other": "0.2"})
    check(beside.describe(), "projected", other=0.2)


@pytest.mark.parametrize("sampler", sampler_names("token"))
def test_lass(tiny_prior: Path, tmp_path: Path, sampler: str) -> None:
    for prior in (tiny_prior, make_tokens(tmp_path / "tokens")):
        found = engine_of(str(prior), sampler=sampler, settings=WORDS["lass"]).describe()
        check(found, sampler, temperature=0.5)
        assert ("top_k" in found["settings"]) == (sampler == "top-k")
        assert ("width" in found["settings"]) == (sampler == "beam")


def test_settings_without_a_number() -> None:
    assert describe_sampler(Projected(eta=None))[1]["eta"] == "ancestral"
    assert describe_sampler(Ancestral()) == ("ancestral", {})
    known = BaselineEngine("hpss").describe()
    assert (known["engine"], known["sampler"], known["settings"]) == ("hpss", None, {})
