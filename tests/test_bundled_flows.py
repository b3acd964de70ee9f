"""The flows of this repository know what they are of, and the encoders separate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import soundfile
import torch
from example_scripts import TOY_FLOWS

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.cli.app import run
from sepcli.datasets.idx import open_digits
from sepcli.datasets.image_splits import to_float_images
from sepcli.datasets.waves import SAMPLE_RATE, ToyWaves
from sepcli.evaluation import run as evaluation
from sepcli.evaluation.cross_likelihood import cross_likelihood
from sepcli.evaluation.density_evaluators import open_evaluators
from sepcli.evaluation.tasks.likelihood import Likelihood
from sepcli.priors.images.flow import FlowPrior, negative_log_likelihood
from sepcli.priors.images.load import load_image_prior

DIGITS = Path(__file__).parent / "data" / "digits"


def test_every_flow_of_toy_waves_finds_its_own_shape_the_most_likely() -> None:
    card = cards.read(TOY_FLOWS)
    evaluators = open_evaluators([str(TOY_FLOWS / word) for word in card.priors], 0.02, torch.device("cpu"))
    assert [evaluator.source for evaluator in evaluators] == list(card.sources)
    waves = ToyWaves(card.sources, "test")
    task = Likelihood(evaluators, lambda: (waves.item(n, 2048) for n in range(3)), 3, "waves")
    found = cross_likelihood(evaluation.run(task), {})
    assert found.means.argmax(axis=0).tolist() == [0, 1, 2, 3]


def test_toy_waves_are_separated_by_the_encoders(tmp_path: Path) -> None:
    waves = ToyWaves(split="test").item(0, SAMPLE_RATE)
    soundfile.write(tmp_path / "wave.wav", waves.mean(0), SAMPLE_RATE, subtype="PCM_16")
    words = ["separate", str(tmp_path / "wave.wav"), "--prior", "toy-waves"]
    assert run([*words, "-o", str(tmp_path / "out"), "--device", "cpu", "-q"]) == 0
    folder = tmp_path / "out" / "wave"
    assert json.loads((folder / "run.json").read_text())["engine"] == "variational"
    names = ("sine", "square", "sawtooth", "triangle")
    stems = [soundfile.read(folder / f"{name}.wav", dtype="int16")[0].astype(int) for name in names]
    assert np.array_equal(sum(stems), soundfile.read(tmp_path / "wave.wav", dtype="int16")[0])
    quarter = np.std(sum(stems)) / 4
    assert max(np.std(stem - sum(stems) / 4) for stem in stems) > quarter  # more than its even share of all


def test_the_flow_of_digits_knows_digits() -> None:
    prior = load_image_prior(resolve.find("mnist-flow")[1])
    assert isinstance(prior, FlowPrior)
    digits = to_float_images(open_digits(DIGITS, "test").images[:16])
    assert negative_log_likelihood(prior, digits).max() < 3.0
