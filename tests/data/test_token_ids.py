import torch

from refkit.data.token_ids import trim_to_longest


def test_trim_keeps_every_used_column():
    ids = torch.tensor([[5, 6, 0, 0], [5, 0, 6, 0]])
    assert torch.equal(trim_to_longest(ids), ids[:, :3])
    assert torch.equal(trim_to_longest(ids, pad_id=6), ids)
    nothing = torch.zeros(2, 3, dtype=torch.int64)
    assert torch.equal(trim_to_longest(nothing), nothing[:, :1])
