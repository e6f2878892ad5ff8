"""What every run has in common: hooks, logging, checkpoints, randomness."""

from mmengine.hooks import IterTimerHook, ParamSchedulerHook
from mmengine.visualization import LocalVisBackend, TensorboardVisBackend, Visualizer

from refkit.engine.hooks import (
    LeanLoggerHook,
    LeanRuntimeInfoHook,
    ProgressHook,
    RandomStateHook,
    SafeCheckpointHook,
    SamplePicturesHook,
)

default_scope = "refkit"
work_dir = None  # work_dirs/<name of the config>
load_from = None  # initial weights, loaded strictly
load_allow_missing = []  # patterns of parameters that load_from may lack
resume = False
launcher = "auto"
log_level = "INFO"
randomness = dict(seed=0, deterministic=False)
find_unused_parameters = False

default_hooks = dict(
    runtime_info=dict(type=LeanRuntimeInfoHook, interval=50),
    timer=dict(type=IterTimerHook),
    sampler_seed=None,  # ExactTrainLoop sets the epoch of the sampler
    logger=dict(type=LeanLoggerHook, interval=50),
    param_scheduler=dict(type=ParamSchedulerHook),
    checkpoint=dict(
        type=SafeCheckpointHook, interval=1, interval_iters=0, keep=2, save_best=None, rule="greater"
    ),
    random_state=dict(type=RandomStateHook),
    progress=dict(type=ProgressHook),
    pictures=dict(type=SamplePicturesHook, count=16, keep=5),
)
custom_hooks = []
log_processor = dict(window_size=50, by_epoch=True)
visualizer = dict(
    type=Visualizer, vis_backends=[dict(type=LocalVisBackend), dict(type=TensorboardVisBackend)]
)
env_cfg = dict(
    cudnn_benchmark=False,
    mp_cfg=dict(mp_start_method="fork", opencv_num_threads=0),
    dist_cfg=dict(backend="nccl", timeout=1800),
)
