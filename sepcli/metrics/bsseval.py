"""ISR, SIR and SAR of BSS Eval v4, by museval.

Its distortion filters of 512 taps are fitted to the whole track: for four stereo stems of four minutes that
takes minutes and gigabytes. SDR needs none of it, see ``sepcli.metrics.audio.sdr``.

Source: Vincent, Sawada, Bofill, Makino & Rosca 2007; Stöter, Liutkus & Ito 2018.
"""

from __future__ import annotations

import shutil
import warnings

import numpy as np
from numpy.typing import ArrayLike

from sepcli.errors import InputError
from sepcli.metrics.audio import Array


def bss_eval(reference: ArrayLike, estimate: ArrayLike, window: int) -> Array:
    """Source image to spatial distortion, to interference and to artifacts ratio, per source and window.

    Args:
        reference: (K, T, C).
        estimate: likewise.
        window: samples per window, and from window to window.

    Returns:
        (3, K, W): ISR, SIR and SAR in dB; NaN where a source or an estimate is silent in the window, and
        everywhere if one is silent throughout, for then there are no filters.

    Raises:
        InputError: museval cannot be used, as ffmpeg is missing, or fits no filters.
    """
    s, s_hat = np.asarray(reference, dtype=np.float64), np.asarray(estimate, dtype=np.float64)
    if shutil.which("ffmpeg") is None:
        raise InputError(
            "bsseval is computed by museval, which needs ffmpeg", "install ffmpeg, or ask for sdr"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # museval and what it imports use what newer libraries deprecate
        from museval.metrics import Framing, bss_eval

        windows = Framing(window, window, s.shape[1]).nwin if s.shape[1] else 0
        silent = [not np.any(np.sum(signal, axis=-1)) for signal in (*s, *s_hat)]
        if any(silent) or not windows:
            return np.full((3, s.shape[0], windows), np.nan)
        try:
            _, *values, _ = bss_eval(s, s_hat, window=window, hop=window)
        except (np.linalg.LinAlgError, AttributeError) as error:  # its handler names a module that is gone
            raise InputError(
                "museval finds no distortion filters: sources or channels are alike", "ask for sdr"
            ) from error
    return np.asarray(values)
