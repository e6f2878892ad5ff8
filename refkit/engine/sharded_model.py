"""Frozen language models that no device holds whole while training: FSDP2 beside data-parallel training."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.dist import broadcast, get_world_size, is_main_process
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.nn.parallel import DistributedDataParallel

from refkit.engine.distributed import DistributedModel
from refkit.registry import MODEL_WRAPPERS


class ShardingError(ValueError):
    """A part that cannot be divided among processes."""


@MODEL_WRAPPERS.register_module()
class ShardedModel(DistributedModel):
    """`DistributedModel` that divides the frozen weights of some parts among the processes (FSDP2).

    A block of a part is whole only while it is used, on the way there and on the way back. What is
    trained stays whole everywhere and its gradients are averaged as without sharding: that is little
    (adapters, projections), and neither optimizer nor clipping need to know about shards. In evaluation mode
    the parts are whole as well, for searches for texts take another number of steps in every process.

    Every process builds the model before it is divided, so the host must have room for it.

    Args:
        module: the model, already on its device.
        parts: names of modules such as ``heads.caption.language_model``. Lists of blocks inside them
            (``nn.ModuleList``) are gathered block by block, the rest at once.
        arguments: further arguments of `DistributedModel`.

    Raises:
        ShardingError: an unknown name, or a part with nothing frozen.
    """

    def __init__(self, module: nn.Module, parts: Sequence[str], **arguments: Any) -> None:
        mesh = init_device_mesh(next(module.parameters()).device.type, (get_world_size(),))
        for name in parts:
            _shard(_part(module, name), name, mesh)
        divided = [
            name
            for name, parameter in module.named_parameters(remove_duplicate=False)
            if isinstance(parameter, DTensor)
        ]
        # The way that torch's own combinations with DDP go; there is no public one.
        DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(module, divided)
        super().__init__(module, **arguments)

    def train(self, mode: bool = True) -> ShardedModel:
        """As ``nn.Module.train``; every process must call it, for weights are exchanged."""
        super().train(mode)
        self._arrange()
        return self

    def whole_state_dict(self) -> dict[str, Tensor]:
        """The model's state dict without shards, on the first process; an empty one on the others.

        Every process must call it. Gathered weights come on the CPU, one after the other.
        """
        state = self.module.state_dict()
        whole: dict[str, Tensor] = {}
        for name, value in state.items():
            if isinstance(value, DTensor):
                value = value.full_tensor()
                value = value.cpu() if is_main_process() else value
            if is_main_process():
                whole[name] = value
        self._arrange()  # reading the state has divided the weights again
        return whole

    def broadcast_weights(self) -> None:
        """Give every process the first one's weights and buffers; of shards, each has its own anyway."""
        for value in self.module.state_dict().values():
            if not isinstance(value, DTensor):
                broadcast(value)

    def _arrange(self) -> None:
        """Divided in training, whole in evaluation mode."""
        for shard in _shards(self.module):
            shard.set_reshard_after_forward(self.training, recurse=False)
            if self.training:
                shard.reshard()
            else:
                shard.unshard()


def _part(model: nn.Module, name: str) -> nn.Module:
    known = dict(model.named_modules())
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.3)
        raise ShardingError(f"parts: nothing is called {name!r}; nearest: {', '.join(near) or 'none'}")
    return known[name]


def _shard(part: nn.Module, name: str, mesh: DeviceMesh) -> None:
    """Divide what is frozen now; a part that is divided already stays as it is."""
    if isinstance(part, FSDPModule):
        return
    trained = {parameter for parameter in part.parameters() if parameter.requires_grad}
    if trained.issuperset(part.parameters()):
        raise ShardingError(
            f"parts: {name} has no frozen weights, and trained ones are not sharded: name it in the model's "
            "freeze, or leave it out"
        )
    for block in _blocks(part):
        if not trained.issuperset(block.parameters()):
            fully_shard(block, mesh=mesh, ignored_params=trained)
    fully_shard(part, mesh=mesh, ignored_params=trained)
    for method in getattr(part, "entries", ()):
        register_fsdp_forward_method(part, method)
    part.register_load_state_dict_pre_hook(_divide_loaded)


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """Members of the outermost lists of modules."""
    for child in module.children():
        yield from child if isinstance(child, nn.ModuleList) else _blocks(child)


def _shards(model: nn.Module) -> Iterator[FSDPModule]:
    return (module for module in model.modules() if isinstance(module, FSDPModule))


def _divide_loaded(part: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Whole weights that are about to be loaded become shards; every process has read them."""
    for shard in _shards(part):
        shard.reshard()
    for name, parameter in part.named_parameters(remove_duplicate=False):
        given = state.get(prefix + name)
        if isinstance(parameter, DTensor) and isinstance(given, Tensor) and not isinstance(given, DTensor):
            mesh = parameter.device_mesh
            state[prefix + name] = distribute_tensor(
                given.to(parameter.device), mesh, parameter.placements, src_data_rank=None
            )
