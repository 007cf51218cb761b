"""The interposer: plain Python code that knows nothing of us works on a simulated storage."""

from untorn.explore.interpose.current import ack, acknowledged, set_current
from untorn.explore.interpose.errors import UnseenAccessError
from untorn.explore.interpose.interposer import ROOT, Interposer

__all__ = ["ROOT", "Interposer", "UnseenAccessError", "ack", "acknowledged", "set_current"]
