"""Hooks: what happens around iterations, epochs and checkpoints."""

from refkit.engine.hooks.checkpointing import SafeCheckpointHook
from refkit.engine.hooks.cut_texts import CutTextsHook
from refkit.engine.hooks.lean_log import LeanLoggerHook, LeanRuntimeInfoHook
from refkit.engine.hooks.optimizer_step import OptimizerStepHook
from refkit.engine.hooks.pictures import SamplePicturesHook
from refkit.engine.hooks.progress import ProgressHook
from refkit.engine.hooks.random_state import RandomStateHook
from refkit.engine.hooks.run_record import RunRecordHook

__all__ = [
    "CutTextsHook",
    "LeanLoggerHook",
    "LeanRuntimeInfoHook",
    "OptimizerStepHook",
    "ProgressHook",
    "RandomStateHook",
    "RunRecordHook",
    "SafeCheckpointHook",
    "SamplePicturesHook",
]
