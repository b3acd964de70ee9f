"""Which prior separates recordings where none is given."""

from __future__ import annotations

import pytest

from sepcli.cli.resolve import DEFAULT_PRIOR, SONG_PRIOR, Method, SeparatorOptions, default_prior


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (SeparatorOptions(), SONG_PRIOR),
        (SeparatorOptions(method=Method.SCORE), SONG_PRIOR),
        (SeparatorOptions(sampler="projected"), SONG_PRIOR),
        (SeparatorOptions(method=Method.LASS), DEFAULT_PRIOR),
        (SeparatorOptions(method=Method.HPSS), DEFAULT_PRIOR),  # type: ignore[attr-defined]
        (SeparatorOptions(sampler="beam"), DEFAULT_PRIOR),
        (SeparatorOptions(other=True), DEFAULT_PRIOR),
    ],
)
def test_the_default_has_what_is_wanted(options: SeparatorOptions, expected: str) -> None:
    assert default_prior(options) == expected
