"""EnCodec and MusicGen of the package transformers, from sizes of ours; the package is an optional extra.

The networks are classes of the library. It gets a few sizes and tensors, never a path.

Source: Défossez et al. 2022, "High Fidelity Neural Audio Compression"; Copet et al. 2023, "Simple and
    Controllable Music Generation".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from huggingface_hub.errors import StrictDataclassError

from sepcli.catalog.bounded import Files
from sepcli.catalog.network import load_network
from sepcli.priors.library import load_class, quiet

Sizes = TypeVar("Sizes")

LIBRARY = "transformers"
OLDEST = (5, 24)
"""The first version whose networks take a cache as they do here."""
CODEC, DECODER = "encodec", "musicgen"
"""Folders of the parts in a prior's folder."""
MOST_CODEBOOKS = 64
MOST_POSITIONS = 1 << 16
"""Positions of a transformer, for each of which there is a vector that no file holds."""
PADDINGS = ("reflect", "constant", "replicate", "circular")


@dataclass(frozen=True)
class EncodecSizes:
    """Sizes of a codec of one channel; they are stored beside the weights.

    Attributes:
        sample_rate: Hz.
        bandwidths: kbit/s that it was trained for, rising; the last one gives the number of codebooks.
        scales: strides of the decoder, whose product is the number of samples of a frame.
        width: channels at the sample rate.
        dim: D, of latents and codes.
        vocabulary: V, codes of a codebook.
        blocks: residual layers per scale.
        layers: of the LSTM.
        kernel: width of the first convolutions.
        last_kernel: width of the last ones.
        residual_kernel: width of those of residual layers.
        dilation: growth of their dilation.
        compress: divisor of their channels.
        causal: whether convolutions see the past only.
        padding: of signals at their ends.
        trim: share of the padding that is trimmed at the right, of causal ones.
        shortcut: whether residual layers have a convolution beside them.
        norm: weight_norm or time_group_norm.

    Raises:
        ValueError: a size is out of range.
    """

    sample_rate: int
    bandwidths: tuple[float, ...]
    scales: tuple[int, ...]
    width: int
    dim: int
    vocabulary: int
    blocks: int
    layers: int
    kernel: int
    last_kernel: int
    residual_kernel: int
    dilation: int
    compress: int
    causal: bool
    padding: str
    trim: float
    shortcut: bool
    norm: str

    def __post_init__(self) -> None:
        if self.padding not in PADDINGS or not self.scales or min(self.scales) < 1:
            raise ValueError("padding or strides of a codec that does not exist")

    @property
    def hop(self) -> int:
        """Samples of a frame."""
        return math.prod(self.scales)

    @property
    def repeated(self) -> int:
        """Layers of each kind multiplied: a codec has more tensors."""
        return self.layers * self.blocks * len(self.scales)


@dataclass(frozen=True)
class MusicgenSizes:
    """Sizes of a transformer over the codes of one channel; they are stored beside the weights.

    Attributes:
        vocabulary: V, codes of a codebook.
        codebooks: Q.
        dim: width of the transformer.
        layers: number of its blocks.
        heads: of its attention.
        hidden: width inside a block.
        context: positions that it was trained for.
        activation: inside a block, by the library's name.
        scaled: whether embeddings are multiplied by √dim.

    Raises:
        ValueError: a size is out of range.
    """

    vocabulary: int
    codebooks: int
    dim: int
    layers: int
    heads: int
    hidden: int
    context: int
    activation: str
    scaled: bool

    def __post_init__(self) -> None:
        if not 1 <= self.codebooks <= MOST_CODEBOOKS or not self.codebooks <= self.context <= MOST_POSITIONS:
            raise ValueError(f"{self.codebooks} codebooks, {self.context} positions")

    @property
    def repeated(self) -> int:
        """Number of layers: a transformer has more tensors."""
        return self.layers


ENCODEC: Mapping[str, str] = {
    "sample_rate": "sampling_rate",
    "bandwidths": "target_bandwidths",
    "scales": "upsampling_ratios",
    "width": "num_filters",
    "dim": "hidden_size",
    "vocabulary": "codebook_size",
    "blocks": "num_residual_layers",
    "layers": "num_lstm_layers",
    "kernel": "kernel_size",
    "last_kernel": "last_kernel_size",
    "residual_kernel": "residual_kernel_size",
    "dilation": "dilation_growth_rate",
    "compress": "compress",
    "causal": "use_causal_conv",
    "padding": "pad_mode",
    "trim": "trim_right_ratio",
    "shortcut": "use_conv_shortcut",
    "norm": "norm_type",
}
MUSICGEN: Mapping[str, str] = {
    "vocabulary": "vocab_size",
    "codebooks": "num_codebooks",
    "dim": "hidden_size",
    "layers": "num_hidden_layers",
    "heads": "num_attention_heads",
    "hidden": "ffn_dim",
    "context": "max_position_embeddings",
    "activation": "activation_function",
    "scaled": "scale_embedding",
}
"""Names of sizes here → there."""


def require_library(what: object) -> None:
    """Refuse to go on without the package.

    Args:
        what: the prior or folder that needs it.

    Raises:
        PriorError: it is not installed, too old, or does not work with this torch.
    """
    load_class(LIBRARY, "MusicgenForCausalLM", "music", what, OLDEST)


def make_encodec(sizes: EncodecSizes) -> Any:
    """Make an ``EncodecModel`` with its first weights; ValueError if there is none of these sizes."""
    from transformers import EncodecConfig, EncodecModel

    config = library_config(EncodecConfig, {ENCODEC[key]: value for key, value in asdict(sizes).items()})
    if not 1 <= config.num_quantizers <= MOST_CODEBOOKS:
        raise ValueError(f"{config.num_quantizers} codebooks")
    with quiet(LIBRARY):
        return EncodecModel(config)


def make_musicgen(sizes: MusicgenSizes) -> Any:
    """Make a ``MusicgenForCausalLM`` with its first weights; ValueError if there is none of these sizes."""
    from transformers import MusicgenDecoderConfig, MusicgenForCausalLM

    fields = {MUSICGEN[key]: value for key, value in asdict(sizes).items()}
    start = {"pad_token_id": sizes.vocabulary, "bos_token_id": sizes.vocabulary}
    config = library_config(MusicgenDecoderConfig, {**fields, **start})
    with quiet(LIBRARY):
        return MusicgenForCausalLM(config)


def library_config(kind: Any, fields: Mapping[str, Any]) -> Any:
    """Return a config of the library; ValueError if it refuses the fields."""
    try:
        with quiet(LIBRARY):
            return kind(**fields)
    except StrictDataclassError as error:
        raise ValueError(" ".join(str(error).split())) from error


def load_encodec(folder: Files) -> tuple[Any, EncodecSizes]:
    """Load the codec of a prior, float32 on the CPU, without gradients.

    Raises:
        PriorError: it is missing or damaged, or the package is not installed.
    """
    return _load(folder, CODEC, EncodecSizes, make_encodec)


def load_musicgen(folder: Files) -> tuple[Any, MusicgenSizes]:
    """Load the transformer of a prior, float32 on the CPU, without gradients.

    Raises:
        PriorError: it is missing or damaged, or the package is not installed.
    """
    return _load(folder, DECODER, MusicgenSizes, make_musicgen)


def _load(folder: Files, part: str, kind: type[Sizes], make: Callable[[Sizes], Any]) -> tuple[Any, Sizes]:
    require_library(f"the prior in {folder}")
    sizes: list[Sizes] = []

    def network(fields: dict[str, Any]) -> Any:
        sizes[:] = [kind(**fields)]
        return make(sizes[0])

    return load_network(network, folder / part).requires_grad_(False), sizes[0]
