"""Training on recordings: what is drawn and measured, and the folder that is left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from example_scripts import TOY_FLOWS
from PIL import Image
from train_request import run

from sepcli.catalog import card as cards
from sepcli.catalog import resolve
from sepcli.datasets.audio_folder import levelled
from sepcli.datasets.detect import Kind, kind_of
from sepcli.datasets.stems import StemBank, concatenate
from sepcli.errors import InputError, OutputError, PriorError, UsageError
from sepcli.priors.audio import denoiser_task, train_denoiser
from sepcli.priors.audio import recordings as audio
from sepcli.priors.audio.load_denoisers import load_mdct_denoiser
from sepcli.priors.audio.mdct_denoiser import SpectralPrior
from sepcli.priors.audio.spectral_net import SpectralConfig
from sepcli.priors.audio.train_denoiser import sample_audio
from sepcli.signal.mdct import mdct
from sepcli.training.checkpoints import Progress
from sepcli.training.config import TrainConfig
from sepcli.training.ema import averaged
from sepcli.training.run import training_entry
from sepcli.training.task import LoopSettings


def bank(seconds: float = 30.0, hertz: float = 1000.0) -> StemBank:
    signal = 10000 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * 8000)) / 8000)
    return levelled(concatenate(("tone",), 8000, [[(0, signal.astype(np.int16))]]), audio.REFERENCE)


LOOP = LoopSettings(seconds=None, steps=4, validations=2, checkpoint_seconds=0.0)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rng = tmp_path_factory.mktemp("recordings") / "my violin", np.random.default_rng(0)
    folder.mkdir()
    for n, rate in enumerate((22050, 44100, 8000)):
        tone = 0.3 * np.sin(2 * np.pi * 300 * (n + 1) * np.arange(11 * rate) / rate)
        soundfile.write(folder / f"{n}.wav", tone + 0.001 * rng.standard_normal(len(tone)), rate)
    return folder


def request(data: Path, out: Path, **changes: object) -> dict[str, Any]:
    fields: dict[str, object] = {
        "family": "denoiser",
        "data": data,
        "out": out,
        "preset": "tiny",
        "sources": ("violin",),
        "batch": 2,
        "tokens": 16,
        "cache": None,
        "loop": LOOP,
        "device": torch.device("cpu"),
    }
    few = {"validated": 8} if changes.get("family", "denoiser") == "denoiser" else {}
    return {**fields, **few, **changes}


@pytest.fixture(scope="module")
def finished(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Progress]:
    """The folder and the progress of a run of four steps."""
    out = tmp_path_factory.mktemp("priors") / "p"
    return out, run(request(recordings, out))


def test_it_starts_from_a_trained_prior(
    finished: tuple[Path, Progress], recordings: Path, tmp_path: Path
) -> None:
    still = LoopSettings(seconds=None, steps=1, learning_rate=1e-12)
    first, init = finished[0], str(finished[0])
    run(request(recordings, tmp_path / "p", init=init, loop=still))
    before, after = (load_mdct_denoiser(out) for out in (first, tmp_path / "p"))
    assert after.config == before.config
    for ours, theirs in zip(after.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-2)
    assert any(
        float(p.abs().max()) > 0 for p in after.net.leave.parameters()
    )  # where training begins at zero
    told = resolve.find(str(tmp_path / "p"))[0].parts["denoiser"].history[0]
    assert (told["prior"], told["steps"]) == ("p", 4)
    with pytest.raises(PriorError, match="prior p"):
        run(request(recordings, tmp_path / "q", init=init, preset="small", loop=still))
    with pytest.raises(PriorError, match="another network"):
        run(request(recordings, tmp_path / "q", init=str(TOY_FLOWS / "priors" / "1"), loop=still))


def test_a_difference_of_low_rank_is_trained(
    finished: tuple[Path, Progress], recordings: Path, tmp_path: Path
) -> None:
    start, rank, fast = str(finished[0]), 3, replace(LOOP, learning_rate=0.5)  # of which warm-up takes most
    run(request(recordings, tmp_path / "whole", init=start, loop=fast))
    run(request(recordings, tmp_path / "p", init=start, rank=rank, loop=fast))
    again = {"init": str(tmp_path / "whole"), "base": start, "rank": rank, "loop": fast}
    run(request(recordings, tmp_path / "q", **again))
    before = load_mdct_denoiser(finished[0]).state_dict()
    for out in ("p", "q"):
        after = load_mdct_denoiser(tmp_path / out).state_dict()
        assert after.keys() == before.keys()
        moved = (after["net.enter.weight"] - before["net.enter.weight"]).flatten(1)
        values = torch.linalg.svdvals(moved.float())
        assert values[rank - 1] > 5 * values[rank]  # what is left is the rounding of the file
    assert resolve.find(str(tmp_path / "q"))[0].parts["denoiser"].history[0]["prior"] == "whole"
    low = {"low_bands": True, "interference": (str(recordings),)}
    for wrong in ({"init": None}, {"rank": 0, "base": start}, low):
        with pytest.raises(UsageError, match="rank"):
            run(request(recordings, tmp_path / "r", **{"init": start, "rank": rank, **wrong}))
    assert not (tmp_path / "r").exists()


def test_a_base_of_another_network_is_named(
    finished: tuple[Path, Progress], recordings: Path, tmp_path: Path
) -> None:
    start, low = str(finished[0]), tmp_path / "low"
    adding = {"low_bands": True, "interference": (str(recordings),)}
    run(request(recordings, low, init=start, loop=replace(LOOP, steps=1), **adding))
    for init, base in (
        (start, "slakh-drums"),
        (start, "songs"),
        (start, "mnist"),
        (str(low), start),
        (start, str(low)),
    ):
        with pytest.raises(PriorError) as error:
            run(request(recordings, tmp_path / "r", init=init, rank=3, base=base))
        assert error.value.argument == "settings.base"
        assert resolve.find(base)[0].name in error.value.message
    with pytest.raises(UsageError, match="4096") as large:
        run(request(recordings, tmp_path / "r", init=start, rank=4096))
    assert large.value.argument == "settings.rank"
    assert not (tmp_path / "r").exists()


def test_a_difference_is_resumed_from_its_base_alone(
    finished: tuple[Path, Progress], recordings: Path, tmp_path: Path
) -> None:
    start, out = Path(shutil.copytree(finished[0], tmp_path / "start")), tmp_path / "p"
    words = {"init": str(start), "rank": 3, "loop": replace(LOOP, learning_rate=0.5)}
    longer = {**words, "resume": True, "loop": replace(LOOP, learning_rate=0.5, steps=6)}
    run(request(recordings, out, **words))
    assert cards.read(out).parts["denoiser"].training["rank"] == 3
    for other, what in (({"rank": 2}, "rank"), ({"rank": 0}, "rank"), ({"base": str(finished[0])}, "base")):
        for more in (words, longer):  # finished, or to be extended
            with pytest.raises(InputError, match=f"another {what}"):
                run(request(recordings, out, **{**more, "resume": True, **other}))
    assert run(request(recordings, out, **{**longer, "base": f"{start}/"})).step == 6
    before, after = (load_mdct_denoiser(folder).state_dict() for folder in (start, out))
    values = torch.linalg.svdvals((after["net.enter.weight"] - before["net.enter.weight"]).flatten(1))
    assert values[2] > 5 * values[3]
    run(request(recordings, start, overwrite=True, loop=replace(LOOP, seed=1)))
    with pytest.raises(InputError, match="base_weights"):
        run(request(recordings, out, **{**longer, "loop": replace(LOOP, learning_rate=0.5, steps=8)}))


def test_objectives_of_a_run_are_not_changed(
    finished: tuple[Path, Progress], recordings: Path, tmp_path: Path
) -> None:
    out, again = tmp_path / "p", {"resume": True, "loop": replace(LOOP, steps=6)}
    run(request(recordings, out, width=24))
    with pytest.raises(InputError, match="width"):
        run(request(recordings, out, **again))
    with pytest.raises(InputError, match="interference"):
        run(request(recordings, out, width=24, interference=(str(recordings),), **again))


@pytest.mark.slow
def test_the_lowest_bands_get_a_network_of_their_own(
    finished: tuple[Path, Progress], recordings: Path, tmp_path: Path
) -> None:
    words = {"init": str(finished[0]), "interference": (str(recordings),), "low_bands": True}
    run(request(recordings, tmp_path / "p", **words))
    before, after = (load_mdct_denoiser(out) for out in (finished[0], tmp_path / "p"))
    assert (after.config.low, after.config.interference_trained) == (train_denoiser.LOW["low"], True)
    assert after.low is not None
    assert float(after.low.leave.weight.abs().max()) > 0
    for key, value in before.state_dict().items():
        assert torch.equal(after.state_dict()[key], value)
    entry = resolve.find(str(tmp_path / "p"))[0].parts["denoiser"].training
    assert entry["interference_share"] == denoiser_task.LOW_INTERFERENCE
    assert "error" in entry["validation"]
    again = {"init": str(tmp_path / "p"), "interference": (str(recordings),)}
    run(request(recordings, tmp_path / "q", **again))  # all of it
    assert load_mdct_denoiser(tmp_path / "q").config.low == train_denoiser.LOW["low"]
    for lacking in ({"init": None}, {"interference": ()}):
        with pytest.raises(UsageError, match="low_bands"):
            run(request(recordings, tmp_path / "r", **{**words, **lacking}))
    with pytest.raises(UsageError, match="low_bands"):
        run(request(recordings, tmp_path / "r", family="flow", low_bands=True))
    assert not (tmp_path / "r").exists()


def test_a_batch_may_be_larger_than_what_is_validated(
    finished: tuple[Path, Progress], recordings: Path, tmp_path: Path
) -> None:
    words = {"init": str(finished[0]), "interference": (str(recordings),), "low_bands": True}
    words |= {"validated": 1, "batch": 5}
    progress = run(request(recordings, tmp_path / "p", **words))
    assert np.isfinite(progress.best)


def test_a_loss_is_compiled_where_it_is_asked_for(
    finished: tuple[Path, Progress], recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []

    def compile(function: Callable[..., object], **how: object) -> Callable[..., object]:
        compiled.append(function.__name__)
        return function

    monkeypatch.setattr(torch, "compile", compile)
    run(request(recordings, tmp_path / "p", compile=True))
    assert {"errors", "low_errors"} < set(compiled)
    ours, theirs = (load_mdct_denoiser(out) for out in (tmp_path / "p", finished[0]))
    for key, value in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value)


def test_chunks_have_all_levels_and_both_polarities() -> None:
    chunks = audio.sample_coefficients(bank(), np.random.default_rng(0), 400, 8, 16)
    assert chunks.shape == (400, 16, 8)
    rms = chunks.square().mean((1, 2)).sqrt()
    heard = 20 * torch.log10(rms[rms > 0] / audio.REFERENCE)
    assert 0.005 < float((rms == 0).float().mean()) < 0.08
    assert float(heard.min()) == pytest.approx(audio.GAINS.low, abs=1)
    assert float(heard.max()) == pytest.approx(audio.GAINS.high, abs=1)
    straight = bank()
    offset = np.full_like(straight.samples[0], 3000)
    lifted = audio.sample_coefficients(
        replace(straight, samples=(offset,)), np.random.default_rng(0), 100, 8, 16
    )
    assert 0.3 < float((lifted[:, 0, 3] > 0).float().mean()) < 0.7


def test_bands_are_measured_as_they_are_heard() -> None:
    stds = np.array(audio.measure_bands(bank(), 32, 16))
    assert stds.argmax() in (3, 4)  # 1 kHz of 4 kHz, at the border of two bands
    gains = 10 ** (np.random.default_rng(0).uniform(audio.GAINS.low, audio.GAINS.high, 10**5) / 10)
    power = 16 * audio.REFERENCE**2 * gains.mean() * (1 - audio.GAINS.silent)
    assert np.square(stds).sum() == pytest.approx(power, rel=0.15)
    silence = replace(bank(), samples=(np.zeros_like(bank().samples[0]),))
    assert audio.measure_bands(silence, 32, 16) == [audio.FLOOR] * 16


def test_a_task_learns_to_tell_a_tone_from_noise() -> None:
    config = SpectralConfig(
        8000, 16, 24, 2, embedding=16, band_std=tuple(audio.measure_bands(bank(), 16, 16))
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = SpectralPrior(config)
    mean = averaged(network)
    task = denoiser_task.AudioTask(network, mean.module, bank(), bank(5.0), 16, 16)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    before = task.validate()
    assert before == task.validate()
    assert before["mse"] == pytest.approx(before["wiener"], rel=1e-4)
    for step in range(120):
        mean.update_parameters(network)
        loss, _ = task.loss(*task.sample(np.random.default_rng(step)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(p.grad is None for p in mean.parameters())
    after = task.validate()
    assert after["wiener"] == before["wiener"]
    assert after["loss"] == after["mse"] < 0.7 * after["wiener"]


def test_sounds_of_another_kind_are_learnt_not_to_be_taken_for_its_own() -> None:
    """Two tones of one band, an octave of which is either's own."""

    def both(low: float, high: float) -> StemBank:
        found = [10000 * np.sin(2 * np.pi * hertz * np.arange(8 * 8000) / 8000) for hertz in (low, high)]
        songs = [(n, tone.astype(np.int16)) for n, tone in enumerate(found)]
        return levelled(concatenate(("tones",), 8000, [songs]), audio.REFERENCE)

    own, other, left = both(400.0, 1900.0), both(1150.0, 2650.0), {}
    config = SpectralConfig(8000, 16, 24, 2, embedding=16, band_std=(0.1,))
    for interference in ((), ((other, other),)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            network = SpectralPrior(config)
        task = denoiser_task.AudioTask(network, network, own, own, 16, 16, interference)
        optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
        for step in range(150):
            loss, _ = task.loss(*task.sample(np.random.default_rng(step)))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        x = audio.sample_coefficients(other, np.random.default_rng(1), 32, 16, 16)
        with torch.no_grad():
            taken, _ = network.denoise(x, torch.full((32,), 0.01))
        left[bool(interference)] = float(taken.square().mean() / x.square().mean())
    assert left[True] < 0.4 * left[False]


def test_what_it_is_against_is_a_folder_or_a_class_of_the_songs(
    recordings: Path, tiny_slakh: Path, tmp_path: Path
) -> None:
    still = LoopSettings(seconds=None, steps=1)
    words = {"sources": ("Drums",), "interference": ("bass", str(recordings)), "loop": still}
    run(request(tiny_slakh, tmp_path / "p", **words))
    card, _ = resolve.find(str(tmp_path / "p"))
    assert card.parts["denoiser"].training["interference_share"] == denoiser_task.INTERFERENCE
    with pytest.raises(UsageError, match="bass"):
        run(request(recordings, tmp_path / "q", interference=("bass",)))
    with pytest.raises(UsageError, match="interference"):
        run(request(recordings, tmp_path / "q", family="flow", interference=("bass",)))
    assert not (tmp_path / "q").exists()


def test_a_run_leaves_a_prior_a_curve_and_samples(recordings: Path, finished: tuple[Path, Progress]) -> None:
    out, progress = finished
    assert progress.step == 4
    card, folder = resolve.find(str(out))
    assert (card.engine, card.sources, card.weights, card.sample_rate) == (
        "score",
        ("violin",),
        (1.0,),
        22050,
    )
    assert sorted(card.files) == ["denoiser/config.json", "denoiser/model.safetensors"]
    cards.verify(card, folder)
    entry = card.parts["denoiser"].training
    assert entry["band_std"]["greatest"] > 0.1 > entry["band_std"]["median"] > 0
    assert entry["hours_of_data"] == pytest.approx(22 / 3600, abs=6e-4)
    assert {"mse", "wiener", "nll"} == set(entry["validation"])
    prior = load_mdct_denoiser(folder)
    assert len(prior.config.band_std) == 512
    assert max(prior.config.band_std) == entry["band_std"]["greatest"]
    with Image.open(out / "validation.png") as image:
        assert image.format == "PNG"
    drawn = []
    for number in (1, 2, 3):
        signal, rate = soundfile.read(out / "samples" / f"{number:02d}.flac")
        assert (len(signal), rate) == (4 * 22050, 22050)
        drawn.append(signal)
    assert np.std(drawn[0]) > 0.01
    assert not np.array_equal(drawn[0], drawn[1])
    assert not list(out.rglob("*.part"))
    with pytest.raises(OutputError, match="denoiser"):
        run(request(recordings, out))


def test_the_card_says_how_good_the_weights_are_that_were_kept(recordings: Path, tmp_path: Path) -> None:
    history = [{"step": n, "valid_loss": mse, "valid_mse": mse} for n, mse in ((1, 0.5), (2, 0.3), (3, 0.4))]
    progress = Progress(step=3, elapsed=9.0, best=0.3, best_step=2, history=history)
    config = TrainConfig("denoiser", recordings, tmp_path, batch=5)
    entry = training_entry(config, progress)
    assert (entry["steps"], entry["best_step"], entry["batch"]) == (3, 2, 5)
    assert entry["validation"] == {"mse": 0.3}


def test_untrained_samples_have_the_spectrum_of_the_bands() -> None:
    stds = tuple(float(s) for s in np.geomspace(0.3, 0.003, 16))
    prior = SpectralPrior(SpectralConfig(8000, 16, 8, 1, embedding=8, band_std=stds)).requires_grad_(False)
    drawn = sample_audio(prior, seed=3, seconds=4.0, steps=100)
    assert drawn.shape == (3, 32000)
    assert torch.equal(drawn[1:2], sample_audio(prior, seed=4, count=1, steps=100))
    spectrum = mdct(drawn, 16).square().mean((0, 2)).sqrt()
    torch.testing.assert_close(spectrum, torch.tensor(stds), rtol=0.12, atol=0)


@pytest.mark.parametrize("low", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    recordings: Path, finished: tuple[Path, Progress], tmp_path: Path, low: bool
) -> None:
    words = {"init": str(finished[0]), "interference": (str(recordings),), "low_bands": True} if low else {}

    def stop(done: int, total: int) -> None:
        if done >= total // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(request(recordings, tmp_path / "p", **words), stop)
    assert not (tmp_path / "p" / "card.toml").exists()
    with pytest.raises(OutputError, match="denoiser") as unfinished:
        run(request(recordings, tmp_path / "p", **words))
    assert unfinished.value.argument == "out"
    resumed = run(request(recordings, tmp_path / "p", resume=True, **words))
    whole = run(request(recordings, tmp_path / "q", **words)) if low else finished[1]
    assert figures(resumed) == pytest.approx(figures(whole), rel=1e-3)


def figures(progress: Progress) -> list[float]:
    return [progress.step, *(entry["valid_loss"] for entry in progress.history)]


def test_one_instrument_of_slakh(tiny_slakh: Path, tmp_path: Path) -> None:
    run(request(tiny_slakh, tmp_path / "p", sources=("Drums",), loop=LoopSettings(seconds=None, steps=1)))
    card, _ = resolve.find(str(tmp_path / "p"))
    assert card.sources == ("Drums",)
    assert card.parts["denoiser"].training["hours_of_data"] == pytest.approx(8 / 3600, abs=6e-4)
    learn, held_out = audio.open_banks(tiny_slakh / "train", "bass", 22050, 65536)
    assert (len(learn.spans[0]), len(held_out.spans[0])) == (1, 1)


def test_what_the_data_are(recordings: Path, tiny_slakh: Path, tmp_path: Path) -> None:
    assert kind_of(recordings) is Kind.AUDIO
    assert audio.default_source(recordings) == "my violin"
    with pytest.raises(UsageError, match=tiny_slakh.name):
        audio.default_source(tiny_slakh)
    with pytest.raises(UsageError, match="huge"):
        run(request(recordings, tmp_path / "p", preset="huge"))
    with pytest.raises(InputError, match=r"11\.0 s"):
        run(request(recordings, tmp_path / "p", tokens=4000))
    assert not (tmp_path / "p").exists()
