"""Says at the end of a run how many texts were too long for the model."""

from __future__ import annotations

from typing import Any

from mmengine.dist import all_gather_object
from mmengine.hooks import Hook

from refkit.backbones.tokenizer import cut_summary, tokenizers_of
from refkit.registry import HOOKS


@HOOKS.register_module()
class CutTextsHook(Hook):
    """One warning after training or testing, counted over all processes; silent where no text was cut.

    The runner adds this hook by itself.
    """

    priority = "LOWEST"

    def after_train(self, runner: Any) -> None:
        """Count what training and its validations read."""
        self._report(runner)

    def after_test(self, runner: Any) -> None:
        """Count what the test set holds."""
        self._report(runner)

    @staticmethod
    def _report(runner: Any) -> None:
        for tokenizer in tokenizers_of(runner.bare_model):
            everywhere = set().union(*all_gather_object(tokenizer.cut_texts))
            if summary := cut_summary(everywhere, tokenizer.context_length):
                runner.logger.warning(summary)
