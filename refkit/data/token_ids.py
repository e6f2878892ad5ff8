"""Operations on padded batches of token ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def trim_to_longest(token_ids: Tensor, pad_id: int = 0) -> Tensor:
    """Drop the columns of ``(B, T)`` that are padding in every text of the batch; one column always stays.

    Exact for a causal text tower (padding stands after the end token, where nothing looks) and for an
    encoder that masks padded keys. Call it before the ids move to an accelerator: it reads their values.
    """
    used = (token_ids != pad_id).any(dim=0).nonzero()
    return token_ids[:, : int(used[-1]) + 1 if len(used) else 1]
