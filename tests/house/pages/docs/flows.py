"""A recording of the pipeline that the page tells of."""

from warren import Pipeline
from warren.analytics import Recorder
from warren.connectors import memory

Pipeline("trips", memory.items(range(10)) | memory.into([])).observed(Recorder("recordings")).run()
