"""Several processes: started by torchrun, talking over NCCL on GPUs and gloo on CPUs."""

from __future__ import annotations

import inspect
import os
from datetime import timedelta
from typing import Any

import torch
from mmengine.dist import broadcast, get_world_size
from mmengine.model import MMDistributedDataParallel
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from refkit.registry import MODEL_WRAPPERS

# torch renamed the option and warns about the old name; the lower bound of the supported range has the old
# one only.
_BUFFER_OPTION = (
    "forward_sync_buffers"
    if "forward_sync_buffers" in inspect.signature(DistributedDataParallel.__init__).parameters
    else "broadcast_buffers"
)


def choose_launcher(launcher: str) -> str:
    """``"auto"`` becomes ``"pytorch"`` under torchrun and ``"none"`` otherwise; other names stay."""
    if launcher != "auto":
        return launcher
    return (
        "pytorch"
        if "TORCHELASTIC_RUN_ID" in os.environ or {"RANK", "WORLD_SIZE"} <= os.environ.keys()
        else "none"
    )


def start_processes(launcher: str, timeout_seconds: int = 1800) -> None:
    """Join the process group of torchrun before MMEngine would (its own way fails without a GPU).

    Args:
        launcher: ``"pytorch"`` joins; ``"none"`` does nothing; others (``slurm``, ``mpi``) are left to
            MMEngine.
        timeout_seconds: how long one process waits for the others in a collective operation.

    Raises:
        RuntimeError: ``"pytorch"`` without torchrun's environment variables.
    """
    if launcher != "pytorch" or distributed.is_initialized():
        return
    missing = [name for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR") if name not in os.environ]
    if missing:
        raise RuntimeError(
            f"--launcher pytorch needs torchrun, which sets {', '.join(missing)}: "
            "torchrun --nproc-per-node 2 tools/train.py CONFIG"
        )
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))


def share_buffers(model: nn.Module) -> None:
    """Give every process the first one's buffers (running statistics differ between them while training).

    Done before an evaluation, so that all processes evaluate one model, and before a checkpoint, which holds
    the first one's only: an uninterrupted run then goes on exactly as a resumed one.
    """
    if get_world_size() > 1:
        for buffer in model.buffers():
            broadcast(buffer)


@MODEL_WRAPPERS.register_module()
class DistributedModel(MMDistributedDataParallel):
    """`MMDistributedDataParallel` that also runs on CPUs and leaves buffers alone.

    Args:
        module: the model, already on its device.
        device_ids: filled in by the runner; dropped on CPUs, where torch wants None.
        arguments: further arguments of `torch.nn.parallel.DistributedDataParallel`, such as
            ``find_unused_parameters`` and ``static_graph``.
    """

    def __init__(self, module: nn.Module, device_ids: list[int] | None = None, **arguments: Any) -> None:
        on_cpu = next(module.parameters()).device.type == "cpu"
        arguments.setdefault(_BUFFER_OPTION, False)
        super().__init__(module, device_ids=None if on_cpu else device_ids, **arguments)
