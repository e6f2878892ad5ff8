"""What MMEngine does not bring: safe resume, autocast on CPU, exact sharding, strict configs.

Importing this package registers loops, hooks, metrics and wrappers.
"""

from refkit.engine.autocast import AutocastOptimWrapper
from refkit.engine.checkpoint import CheckpointError
from refkit.engine.config import ConfigError, load_config
from refkit.engine.dense_captions import DenseCaptionMetric
from refkit.engine.distributed import DistributedModel
from refkit.engine.launch import test, train
from refkit.engine.loops import EvalLoop, ExactTrainLoop, FinalEvalLoop
from refkit.engine.metrics import ProtocolMetric, RECMetric
from refkit.engine.param_groups import ParamGroupConstructor
from refkit.engine.runner import RefkitRunner, build_runner
from refkit.engine.scene_captions import SceneCaptionMetric
from refkit.engine.sharded_model import ShardedModel
from refkit.engine.staged import StagedTrainLoop

__all__ = [
    "AutocastOptimWrapper",
    "CheckpointError",
    "ConfigError",
    "DenseCaptionMetric",
    "DistributedModel",
    "EvalLoop",
    "ExactTrainLoop",
    "FinalEvalLoop",
    "ParamGroupConstructor",
    "ProtocolMetric",
    "RECMetric",
    "RefkitRunner",
    "SceneCaptionMetric",
    "ShardedModel",
    "StagedTrainLoop",
    "build_runner",
    "load_config",
    "test",
    "train",
]
