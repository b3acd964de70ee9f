"""The table of metrics: every row resolves, names are found, and close ones are suggested."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from sepcli.errors import UsageError
from sepcli.metrics import GROUPS, METRICS, find, selectable
from sepcli.metrics.tracks import Track

BLOCKED = "import sys; sys.modules |= dict.fromkeys(('torch', 'numpy', 'scipy', 'librosa'))"


@pytest.mark.parametrize("name", METRICS)
def test_every_row_resolves(name: str) -> None:
    row = METRICS[name]
    assert callable(row.resolve())
    assert row.name == name
    assert row.rule


def test_the_table_needs_no_torch() -> None:
    subprocess.run([sys.executable, "-c", f"{BLOCKED}; import sepcli.metrics"], check=True)


def test_groups_are_their_members_once() -> None:
    assert [metric.name for metric in find(["sir", "bsseval"])] == ["sir", "sdr", "isr", "sar"]
    assert {name for names in GROUPS.values() for name in names} <= METRICS.keys()


@pytest.mark.parametrize(
    ("typed", "meant"), [("SDR", "sdr"), ("sisdr", "si-sdr"), ("SSIM", "ssim"), ("fd_mnist", "fd-mnist")]
)
def test_a_close_name_is_suggested(typed: str, meant: str) -> None:
    with pytest.raises(UsageError, match=typed) as error:
        find([typed])
    assert error.value.hint.split()[-1] == f"{meant}?"


def test_no_close_name_lists_all() -> None:
    with pytest.raises(UsageError, match="loudness") as error:
        find(["loudness"])
    assert all(name in error.value.hint for name in selectable())
    with pytest.raises(UsageError, match="residual"):
        find(["residual"])


@pytest.mark.parametrize("name", [name for name, row in METRICS.items() if row.scope == "track"])
def test_metrics_of_tracks_give_a_value_per_source(name: str) -> None:
    rng = np.random.default_rng(0)
    references = rng.standard_normal((2, 8000, 1)).astype(np.float32)
    references[0, :4000] = 0.0
    noise = rng.standard_normal((2, 8000, 1)).astype(np.float32)
    far, near = (Track(references, references + s * noise, references.sum(0), 4000) for s in (1.0, 0.1))
    try:
        values = METRICS[name].resolve()(near)
    except Exception as error:
        if "ffmpeg" in str(error):
            pytest.skip("museval needs ffmpeg")
        raise
    assert values.shape[0] == 2
    assert np.nanmean(values) > np.nanmean(METRICS[name].resolve()(far)) or not METRICS[name].higher_is_better
