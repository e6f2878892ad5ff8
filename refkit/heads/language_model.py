"""Language models that write about what they are shown: T5 and decoder-only ones behind one interface.

Both read a prefix of vectors ``(B, L, W)`` with a mask, visual tokens and control words alike, and then write
token by token. transformers does the modelling and the search; nothing here knows about regions. Notation:
``B`` batch, ``L`` length of the prefix, ``T`` tokens written, ``W`` width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    T5Config,
    T5ForConditionalGeneration,
)

from refkit.registry import MODELS

_IGNORED = -100
_TIED = ("model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
FLAN_T5_XL = {
    "vocab_size": 32128,
    "d_model": 2048,
    "d_kv": 64,
    "d_ff": 5120,
    "num_layers": 24,
    "num_decoder_layers": 24,
    "num_heads": 32,
}
"""Sizes of ``google/flan-t5-xl``."""


class LanguageModelError(ValueError):
    """A language model that cannot be built as asked for."""


class LanguageModel(nn.Module, ABC):
    """What `CaptionHead` asks of a language model.

    Attributes:
        model: transformers' model.
        width: ``W``.
        begin_controls: control words begin with the tokenizer's first id; the model has no other beginning.
        end_controls: control words end with the tokenizer's end-of-text id.
        entries: methods that run the weights in training; FSDP gathers them there, as there is no forward.
    """

    entries = ("embed", "logits")

    model: Any
    width: int
    begin_controls: bool
    end_controls: bool

    def embed(self, token_ids: Tensor) -> Tensor:
        """``(B, T)`` int64 to ``(B, T, W)``."""
        embedded: Tensor = self.model.get_input_embeddings()(token_ids)
        return embedded

    @abstractmethod
    def logits(self, prefix: Tensor, mask: Tensor, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """Logits ``(B, T, vocabulary)`` of every token of a text, given the prefix and the tokens before.

        Args:
            prefix: ``(B, L, W)``.
            mask: ``(B, L)`` int64, 1 = a vector of the prefix.
            token_ids: ``(B, T)`` int64.
            token_mask: ``(B, T)`` int64, 1 = a token, padding behind.
        """

    @abstractmethod
    def readable(self, prefix: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Prefix and mask as this model's search wants them."""

    def loss(self, prefix: Tensor, mask: Tensor, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """Cross-entropy per token of the text; arguments as for `logits`."""
        logits = self.logits(prefix, mask, token_ids, token_mask)
        labels = token_ids.masked_fill(token_mask == 0, _IGNORED)
        return F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), ignore_index=_IGNORED)

    @torch.no_grad()
    def write(
        self, prefix: Tensor, mask: Tensor, repetition_penalty: float = 1.0, **search: Any
    ) -> tuple[Tensor, Tensor]:
        """Search for the best text by transformers' ``generate``.

        Args:
            prefix: ``(B, L, W)``.
            mask: ``(B, L)`` int64.
            repetition_penalty: of transformers' search, on tokens that were written before.
            search: ``num_beams``, ``max_new_tokens`` and further arguments of ``generate``.

        Returns:
            Ids ``(B, T)`` int64, padded behind, T5's with its start id; and ``(B,)`` float32, the sum of the
            logarithms of the tokens' probabilities as the search saw them (with its penalties).
        """
        prefix, mask = self.readable(prefix, mask)
        # Given as a number, transformers 5.23 would spare as many written tokens as the prefix has padding.
        penalty = RepetitionPenaltyLogitsProcessor(float(repetition_penalty))
        found = self.model.generate(
            inputs_embeds=prefix,
            attention_mask=mask,
            logits_processor=LogitsProcessorList([penalty] if repetition_penalty != 1.0 else []),
            do_sample=False,
            synced_gpus=False,  # `ShardedModel` gathers weights before: nobody waits for the others' texts
            return_dict_in_generate=True,
            output_scores=True,
            **search,
        )
        if "sequences_scores" in found:
            return found.sequences, found.sequences_scores.float()
        steps = self.model.compute_transition_scores(found.sequences, found.scores, normalize_logits=True)
        written = found.sequences[:, -steps.shape[1] :] == search.get("eos_token_id", -1)
        beyond = (written.cumsum(dim=1) - written.long()).bool()
        return found.sequences, steps.masked_fill(beyond, 0.0).sum(dim=1).float()


@MODELS.register_module()
class T5Writer(LanguageModel):
    """T5 1.1 or FlanT5: the prefix enters the encoder, the decoder writes.

    Args:
        size: fields of transformers' ``T5Config``, or ``flan-t5-xl``.
        activation: of the gated perceptrons. DynRefer runs FlanT5 with the exact ``gelu``, although it was
            made with ``gelu_new``.
        dropout: in training.
    """

    begin_controls, end_controls = False, True

    def __init__(
        self, size: str | Mapping[str, Any] = "flan-t5-xl", activation: str = "gelu", dropout: float = 0.1
    ) -> None:
        super().__init__()
        if isinstance(size, str) and size != "flan-t5-xl":
            raise LanguageModelError(f"no T5 {size!r} is known by name; known: flan-t5-xl, or give its sizes")
        fields: dict[str, Any] = dict(FLAN_T5_XL if isinstance(size, str) else size)
        fields |= {"feed_forward_proj": "gated-gelu", "dropout_rate": dropout}
        # The last one does not untie (see below): it keeps transformers from scaling the decoder's output.
        fields |= {"decoder_start_token_id": 0, "tie_word_embeddings": False}
        config = T5Config(**fields)
        config.dense_act_fn = activation
        self.model = T5ForConditionalGeneration(config)
        # transformers ties this layer to the words whatever the configuration says; T5 1.1 has it apart.
        self.model.lm_head = nn.Linear(config.d_model, config.vocab_size, bias=False)
        nn.init.normal_(self.model.lm_head.weight, std=config.d_model**-0.5)
        self.width = config.d_model
        self.register_state_dict_post_hook(_without_tied)
        self.register_load_state_dict_post_hook(_none_missing)

    def logits(self, prefix: Tensor, mask: Tensor, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """See `LanguageModel.logits`; the text is shifted right behind the start id."""
        given: Tensor = self.model(
            inputs_embeds=prefix,
            attention_mask=mask,
            decoder_input_ids=self.model._shift_right(token_ids),
            decoder_attention_mask=token_mask,
            use_cache=False,
        ).logits
        return given

    def readable(self, prefix: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """As they are: the encoder masks padding wherever it stands."""
        return prefix, mask


def _without_tied(module: nn.Module, state: dict[str, Tensor], prefix: str, metadata: Any) -> None:
    """Encoder and decoder share one table of words, which is kept once."""
    for name in _TIED:
        state.pop(prefix + name, None)


def _none_missing(module: nn.Module, keys: Any) -> None:
    """What `_without_tied` left out is not missing."""
    keys.missing_keys[:] = [name for name in keys.missing_keys if not name.endswith(_TIED)]


@MODELS.register_module()
class CausalWriter(LanguageModel):
    """A decoder-only language model (LLaMA, Vicuna, Qwen …): the prefix stands before the text.

    Args:
        family: transformers' name of the architecture, ``llama`` or ``qwen2`` for example.
        size: fields of its configuration.
    """

    begin_controls, end_controls = True, False

    def __init__(self, family: str, size: Mapping[str, Any]) -> None:
        super().__init__()
        try:
            config = AutoConfig.for_model(family, **size)
            self.model = AutoModelForCausalLM.from_config(config)
        except ValueError as error:
            raise LanguageModelError(
                f"transformers has no causal language model {family!r}: {error}"
            ) from error
        self.width = config.hidden_size

    def logits(self, prefix: Tensor, mask: Tensor, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """See `LanguageModel.logits`; positions count what is not masked."""
        joined = torch.cat((mask, token_mask), dim=1)
        given: Tensor = self.model(
            inputs_embeds=torch.cat((prefix, self.embed(token_ids).to(prefix.dtype)), dim=1),
            attention_mask=joined,
            position_ids=(joined.cumsum(dim=1) - 1).clamp(min=0),
            use_cache=False,
        ).logits
        last = mask.shape[1] - 1
        first = given[torch.arange(len(mask), device=mask.device), _last_of(mask)][:, None]
        return torch.cat((first, given[:, last + 1 : -1]), dim=1)

    def readable(self, prefix: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Padding moved to the front: what is written follows the last vector."""
        order = mask.argsort(dim=1, stable=True)
        moved = prefix.gather(1, order[..., None].expand_as(prefix))
        return moved, mask.gather(1, order)


def _last_of(mask: Tensor) -> Tensor:
    """Index ``(B,)`` of the last 1 of every row."""
    places = torch.arange(mask.shape[1], device=mask.device)
    return (mask * places).argmax(dim=1)
