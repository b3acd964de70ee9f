"""One file through one separator, as a stream: read, window, separate, make consistent, join, write."""

from sepcli.stream.report import StemReport, StreamReport
from sepcli.stream.separate import Consistency, StreamSettings, separate_stream

__all__ = ["Consistency", "StemReport", "StreamReport", "StreamSettings", "separate_stream"]
