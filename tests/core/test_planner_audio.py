"""The plan on spoken audio, with the real speech detector."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from core.chunks import SAMPLE_RATE, Chunk, Region
from core.planner import MARGIN, OVERLAP, SPLICE, ChunkPlanner
from core.silence import region_source
from tests.audio_bank import speech
from whisper.libraries import candidates
from whisper.models import bundled_vad
from whisper.vad import SileroVad

S = SAMPLE_RATE
