"""refkit's registries: children of MMEngine's, filled on first use.

Configs name a class itself (``type=HiVG``) or its name (``type="HiVG"``); both end here. Every config sets
``default_scope = "refkit"`` (see ``configs/_base_/default_runtime.py``).
"""

from mmengine.registry import DATA_SAMPLERS as _DATA_SAMPLERS
from mmengine.registry import DATASETS as _DATASETS
from mmengine.registry import HOOKS as _HOOKS
from mmengine.registry import LOOPS as _LOOPS
from mmengine.registry import METRICS as _METRICS
from mmengine.registry import MODEL_WRAPPERS as _MODEL_WRAPPERS
from mmengine.registry import MODELS as _MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as _OPTIM_WRAPPER_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as _OPTIM_WRAPPERS
from mmengine.registry import OPTIMIZERS as _OPTIMIZERS
from mmengine.registry import PARAM_SCHEDULERS as _PARAM_SCHEDULERS
from mmengine.registry import TRANSFORMS as _TRANSFORMS
from mmengine.registry import VISBACKENDS as _VISBACKENDS
from mmengine.registry import VISUALIZERS as _VISUALIZERS
from mmengine.registry import Registry

_ENGINE = ["refkit.engine"]
_MODEL_FOLDERS = ["refkit.models", "refkit.backbones", "refkit.heads", "refkit.data.preprocessor"]

MODELS = Registry("model", parent=_MODELS, scope="refkit", locations=_MODEL_FOLDERS)
DATASETS = Registry(
    "dataset",
    parent=_DATASETS,
    scope="refkit",
    locations=[
        "refkit.data.dataset",
        "refkit.data.dense_regions",
        "refkit.data.mixture",
        "refkit.data.refshapes.dataset",
    ],
)
DATA_SAMPLERS = Registry(
    "data sampler", parent=_DATA_SAMPLERS, scope="refkit", locations=["refkit.data.samplers"]
)
TRANSFORMS = Registry("transform", parent=_TRANSFORMS, scope="refkit", locations=["refkit.data.transforms"])
METRICS = Registry("metric", parent=_METRICS, scope="refkit", locations=_ENGINE)
HOOKS = Registry("hook", parent=_HOOKS, scope="refkit", locations=_ENGINE)
LOOPS = Registry("loop", parent=_LOOPS, scope="refkit", locations=_ENGINE)
MODEL_WRAPPERS = Registry("model_wrapper", parent=_MODEL_WRAPPERS, scope="refkit", locations=_ENGINE)
OPTIM_WRAPPERS = Registry("optim_wrapper", parent=_OPTIM_WRAPPERS, scope="refkit", locations=_ENGINE)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    "optim wrapper constructor", parent=_OPTIM_WRAPPER_CONSTRUCTORS, scope="refkit", locations=_ENGINE
)
# Nothing of our own yet; without children of this scope MMEngine warns at every start.
VISUALIZERS = Registry("visualizer", parent=_VISUALIZERS, scope="refkit", locations=_ENGINE)
VISBACKENDS = Registry("vis_backend", parent=_VISBACKENDS, scope="refkit", locations=_ENGINE)
OPTIMIZERS = Registry("optimizer", parent=_OPTIMIZERS, scope="refkit", locations=_ENGINE)
PARAM_SCHEDULERS = Registry(
    "parameter scheduler", parent=_PARAM_SCHEDULERS, scope="refkit", locations=_ENGINE
)
