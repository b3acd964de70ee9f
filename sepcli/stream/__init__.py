"""One file through one separator, as a stream: read, window, separate, make consistent, join, write."""

from sepcli.stream.draws import DrawReport, DrawsReport
from sepcli.stream.report import StemReport, StreamReport
from sepcli.stream.separate import separate_stream
from sepcli.stream.settings import Consistency, StreamSettings

__all__ = [
    "Consistency",
    "DrawReport",
    "DrawsReport",
    "StemReport",
    "StreamReport",
    "StreamSettings",
    "separate_stream",
]
