"""Settings for all tests: repeatable, and not more threads than the workers share."""

from __future__ import annotations

import os
import signal

# Before anything imports torch: each of the two workers gets one core.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from hypothesis import HealthCheck, settings

# A background job may begin with interrupts ignored, and would hand that on to the programs under
# test; the handler is not handed on.
signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile(
    "penlight",
    deadline=None,  # a busy machine is no failure
    derandomize=True,
    database=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("penlight")
