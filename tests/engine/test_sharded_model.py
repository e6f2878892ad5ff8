"""Two processes over gloo that share a frozen language model do what one process does."""

from __future__ import annotations

import os
import sys
import traceback

import pytest
import torch
from mmengine.optim import OptimWrapper
from tiny_models import build, dynrefer_config, region_inputs, samples
from torch import distributed, multiprocessing
from torch.distributed.tensor import DTensor

from refkit.engine.sharded_model import ShardedModel, ShardingError

PART = "heads.caption.language_model"
FROZEN = [PART, "text_encoder", "backbone.tower"]
HALF_FROZEN = [f"{PART}.model.encoder", "text_encoder", "backbone.tower"]


def model_of(folder, freeze):
    config = dynrefer_config(folder, freeze=freeze)
    del config["heads"]["contrast"]  # compares across processes: other losses than one process alone
    return build(config)


def batches(rank):
    """What a process sees in three steps."""
    found = []
    for step in range(3):
        data_samples = samples(4)[2 * rank : 2 * rank + 2]
        inputs = {key: value[2 * rank : 2 * rank + 2] for key, value in region_inputs(4, seed=step).items()}
        found.append({"inputs": inputs, "data_samples": data_samples})
    return found


def optimizer_of(model, steps_per_update):
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adam = torch.optim.AdamW(trained, lr=1e-2, fused=True)
    return OptimWrapper(adam, steps_per_update, clip_grad={"max_norm": 0.5})


def trained_alone(folder, freeze):
    """Losses of both halves of every batch, and the weights that their mean gradient leads to."""
    model = model_of(folder, freeze).train()
    wrapper, losses = optimizer_of(model, 2), [[], []]
    wrapper.initialize_count_status(model, 0, 6)
    for halves in zip(batches(0), batches(1), strict=True):
        for rank, half in enumerate(halves):
            losses[rank].append(model.train_step(half, wrapper)["loss"].item())
    return losses, model


def trained_together(rank, folder, freeze):
    """Train, save, evaluate and load in one of two processes; what it saw goes into a file."""
    own = folder / f"process {rank}"
    own.mkdir()
    model = ShardedModel(model_of(own, freeze), parts=[PART])
    shards = [value for value in model.module.state_dict().values() if isinstance(value, DTensor)]
    found = {"local": sum(value.to_local().numel() for value in shards)}
    found["global"] = sum(value.numel() for value in shards)
    wrapper = optimizer_of(model, 1)
    model.eval()
    model.train()
    found["losses"] = [model.train_step(batch, wrapper)["loss"].item() for batch in batches(rank)]
    found["state"] = {name: value.clone() for name, value in model.whole_state_dict().items()}
    model.eval()
    # Unequal work: the second process searches for one text less often than the first.
    given = batches(rank)[: 3 - rank]
    found["answers"] = [[answer.caption for answer in model.val_step(batch)] for batch in given]
    model.whole_state_dict()
    found["again"] = [[answer.caption for answer in model.val_step(batch)] for batch in given]
    fresh = {name: torch.full_like(value, 0.5) for name, value in model_of(own, freeze).state_dict().items()}
    model.module.load_state_dict(fresh, strict=True)
    loaded = model.whole_state_dict()
    found["loaded"] = all(bool((value == 0.5).all()) for value in loaded.values())
    torch.save(found, folder / f"{rank}.pt")


def enter(rank, folder, freeze):
    # The parent's standard output is pytest's: say what is wrong in a file instead.
    try:
        torch.set_num_threads(1)
        os.environ["LOCAL_RANK"] = str(rank)
        meeting = f"file://{folder}/meeting"
        distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
        trained_together(rank, folder, freeze)
        distributed.destroy_process_group()
    except BaseException:
        (folder / f"{rank}.error").write_text(traceback.format_exc())
        sys.exit(1)


@pytest.fixture(params=[FROZEN, HALF_FROZEN], ids=["all of it frozen", "decoder trained"])
def both(request, tmp_path):
    """What two processes found, and the same work by one."""
    (tmp_path / "alone").mkdir()
    context = multiprocessing.get_context("fork")
    started = [
        context.Process(target=enter, args=(rank, tmp_path, request.param), daemon=True) for rank in range(2)
    ]
    for process in started:
        process.start()
    for process in started:
        process.join(30)
    errors = [file.read_text() for file in sorted(tmp_path.glob("*.error"))]
    assert [process.exitcode for process in started] == [0, 0], "\n".join(errors)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    return found, trained_alone(tmp_path / "alone", request.param)


def test_two_processes_equal_one(both):
    found, (losses, model) = both
    alone = model.state_dict()
    for rank in range(2):
        assert found[rank]["losses"] == pytest.approx(losses[rank], rel=1e-5)
        assert found[rank]["local"] * 2 == pytest.approx(found[rank]["global"], rel=0.1)
        assert found[rank]["loaded"] and found[rank]["answers"] == found[rank]["again"]
        for batch, answers in zip(batches(rank), found[rank]["answers"], strict=False):
            assert [answer.caption for answer in model.eval().val_step(batch)] == answers
    whole = found[0]["state"]
    assert whole.keys() == alone.keys() and not found[1]["state"]
    for name, value in whole.items():
        torch.testing.assert_close(value, alone[name], rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("part", "freeze", "message"),
    [("heads.captain", FROZEN, "nearest: heads.caption"), (PART, ["text_encoder"], "no frozen weights")],
)
def test_parts_that_cannot_be_sharded(tmp_path, part, freeze, message):
    store = distributed.FileStore(str(tmp_path / "store"), 1)
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        with pytest.raises(ShardingError, match=message):
            ShardedModel(model_of(tmp_path, freeze), parts=[part])
    finally:
        distributed.destroy_process_group()
