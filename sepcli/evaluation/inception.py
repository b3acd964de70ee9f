"""The original Inception network, by the library torch-fidelity, with weights that the user has.

Nothing is downloaded. The library unpickles any file, which could run any program; so the weights are read
here, as tensors only, and passed on in a clean file.

Source: Szegedy et al. 2016; Obukhov et al. 2020 (torch-fidelity), whose features and resizing agree with the
    code of Heusel et al. 2017.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from sepcli.catalog.card import sha256
from sepcli.errors import InputError, UsageError
from sepcli.metrics.features import Extractor
from sepcli.priors.checkpoint import read_state

NAME = "inception"
FEATURES, LOGITS = "2048", "logits_unbiased"
"""Names in the library of the layers for FID and for the Inception score."""
KNOWN = "weights-inception-2015-12-05-6726825d.pth"
"""The file that the library's authors publish."""


def open_inception(weights: Path | None, device: torch.device) -> Extractor:
    """Open the network of FID and Inception score.

    Args:
        weights: a checkpoint of PyTorch (``KNOWN``) or safetensors of the same names.
        device: of the network.

    Raises:
        UsageError: there is no file given, or the library is not installed.
        InputError: the file cannot be read, or is of another network.
    """
    if weights is None:
        raise UsageError("fid and is need the original Inception network's weights", f"give its file {KNOWN}")
    make, version = _library()
    state = _read(weights)
    with tempfile.TemporaryDirectory() as folder:
        clean = Path(folder) / "weights.pth"
        torch.save(state, clean)
        try:
            network = make(NAME, [FEATURES, LOGITS], feature_extractor_weights_path=str(clean))
        except RuntimeError as error:
            raise InputError(
                f"{weights} is not of the Inception network of torch-fidelity", f"use its {KNOWN}"
            ) from error
    network.to(device)

    def extract(images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows = torch.from_numpy(np.array(images)).to(device)
        with torch.inference_mode():
            features, logits = network(rows.expand(-1, 3, -1, -1))
        return features.float().cpu().numpy(), logits.float().softmax(1).cpu().numpy()

    about = {"library": f"torch-fidelity {version}", "sha256": sha256(weights), "layers": [FEATURES, LOGITS]}
    return Extractor(NAME, extract, about)


def _library() -> tuple[Any, str]:
    """The library's network class and version."""
    try:
        from torch_fidelity import __version__
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise UsageError(
            "fid and is need the package torch-fidelity", "pip install 'sepcli[fidelity]'"
        ) from error
    except RuntimeError as error:  # a torchvision that was built for another PyTorch
        raise UsageError(
            f"torch-fidelity cannot be imported: {error}", "install torchvision from where PyTorch came from"
        ) from error
    return FeatureExtractorInceptionV3, str(__version__)


def _read(weights: Path) -> dict[str, Tensor]:
    if weights.suffix != ".safetensors":
        return read_state(weights)
    try:
        return load_file(weights)
    except (OSError, ValueError, SafetensorError) as error:
        message = f"{weights} cannot be read as safetensors"
        raise InputError(message, f"use torch-fidelity's {KNOWN}") from error
