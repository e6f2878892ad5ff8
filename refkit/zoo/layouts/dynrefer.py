"""Released DynRefer checkpoints: names of tensors."""

from refkit.zoo.layouts.renaming import Rule

_ATTENTION = "Qformer.bert.encoder.layer.{n}.", "backbone.qformer.bert.encoder.layer.{n}."
REGION: tuple[Rule, ...] = (
    ("visual_encoder.{rest}", "backbone.tower.eva.{rest}"),
    ("ln_vision.{rest}", "backbone.norm.{rest}"),
    ("query_tokens", "backbone.qformer.query_tokens"),
    ("Qformer.bert.embeddings.LayerNorm.{rest}", "backbone.qformer.bert.layernorm.{rest}"),
    *(
        (f"{_ATTENTION[0]}{kind}.self.{{rest}}", f"{_ATTENTION[1]}{kind}.attention.{{rest}}")
        for kind in ("attention", "crossattention")
    ),
    ("Qformer.bert.encoder.layer.{n}.{rest}", "backbone.qformer.bert.encoder.layer.{n}.{rest}"),
    ("cvem_align.{rest}", "backbone.align.{rest}"),
    ("cvem_mlp.{rest}", "backbone.fusion.{rest}"),
)
RULES = REGION
