"""``sepcli evaluate --metric cross-likelihood``: whether priors tell each other's sources apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sepcli.cli import console
from sepcli.cli.fetch import fetch_if_new
from sepcli.cli.reports import check_targets
from sepcli.cli.run_record import write_record
from sepcli.errors import UsageError

if TYPE_CHECKING:
    from sepcli.evaluation.cross_likelihood import CrossLikelihood
    from sepcli.evaluation.density_evaluators import Signal

ITEMS = 100
"""Test items of every source, unless it is said."""


def score_cross(
    priors: Sequence[str],
    data: Path | None,
    unused: Mapping[str, object],
    *,
    pairs: int | None,
    noise: float,
    seed: int,
    device: str,
    cache: Path | None,
    out: Path | None,
    plot: Path | None,
    overwrite: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """Print the table of priors against sources and whether the diagonal wins; write what is asked for.

    Args:
        priors: words, one per source.
        data: the word for toy waves, or a folder of STEM/ITEM files or of songs with stems.
        unused: options that are of no use here, by name, as they were given.
        pairs: how many items.
        noise: σ under which items are looked at.
        seed: of noise, toy waves, segments of songs and bootstrap.
        device: where to compute.
        cache: a folder for decoded songs.
        out: a file for the document.
        plot: a file for the heat map.
        overwrite: whether files may be replaced.
        as_json: print the document instead.
        quiet: no progress, no notes.

    Raises:
        SepError: the priors cannot be compared, or the data cannot be read.
    """
    for option, value in unused.items():
        if value:
            raise UsageError(f"--metric cross-likelihood has no use for {option}", f"leave out {option}")
    if data is None or not 0 <= noise < 1:
        raise UsageError(
            "cross-likelihood needs data, and noise from 0 to less than 1",
            "give --data toy-waves, or --data DIR with STEM/ITEM.wav or of Slakh2100 or MUSDB18, and for "
            "example --noise 0.1",
        )
    check_targets({"--out": out, "--plot": plot}, overwrite)
    fetch_if_new(priors, quiet)
    found = _compute(priors, data, pairs or ITEMS, noise, seed, device, cache, quiet)
    document = found.as_dict()
    if out is not None:
        write_record(out, document)
        console.note(f"wrote {out}", quiet)
    if plot is not None:
        from sepcli.evaluation.heat_map import save_heat_map

        save_heat_map(found, plot)
        console.note(f"wrote {plot}", quiet)
    if as_json:
        console.emit_json(document)
        return
    _print(found)


def _compute(
    priors: Sequence[str],
    data: Path,
    pairs: int,
    noise: float,
    seed: int,
    device: str,
    cache: Path | None,
    quiet: bool,
) -> CrossLikelihood:
    from sepcli.cli.device import choose_device
    from sepcli.evaluation.cross_likelihood import cross_likelihood
    from sepcli.evaluation.density_evaluators import open_judges

    place = choose_device(device)
    judges = open_judges(priors, noise, place)
    names, rate = [judge.source for judge in judges], judges[0].kind["sample_rate"]
    with console.progress("asking priors", quiet) as on_progress:
        items, count, told = _items(data, names, pairs, rate, seed, cache)
        how = {
            "data": str(data),
            **told,
            **judges[0].kind,
            "files": {judge.prior: judge.files for judge in judges},
            "device": str(place),
        }
        return cross_likelihood(judges, items, count, how, seed=seed, on_progress=on_progress)


def _items(
    data: Path, names: Sequence[str], pairs: int, rate: int, seed: int, cache: Path | None
) -> tuple[Iterator[Signal], int, dict[str, Any]]:
    """Test items of the sources, how many there are, and what the report has to say of songs."""
    from sepcli.datasets.detect import TOY_WAVES
    from sepcli.datasets.song_banks import held_out_split, holds_songs
    from sepcli.evaluation.density_evaluators import LENGTH, folder_items, song_items, toy_items

    if str(data) == TOY_WAVES and not data.exists():
        return *toy_items(names, pairs, rate, seed), {}
    if not holds_songs(data):
        return *folder_items(data, names, pairs, rate), {}
    split = held_out_split(data)
    items = song_items(data, split, names, pairs, rate, seed, cache)
    return items, pairs, {"subset": split, "samples": LENGTH}


def _print(found: CrossLikelihood) -> None:
    rows = [
        [prior, *(f"{value:.3f}" for value in row)]
        for prior, row in zip(found.priors, found.means, strict=True)
    ]
    how = found.how
    caption = (
        f"nats per sample ({how['likelihood']}), mean of {found.values.shape[2]} items, under noise of "
        f"{how['noise']:.3g}; rows are priors, columns sources"
    )
    console.table(["prior", *found.sources], rows, caption)
    console.emit(found.sentence())
