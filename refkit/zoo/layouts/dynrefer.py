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


def _decoder(published: str, ours: str) -> tuple[Rule, ...]:
    """One of the two recognition decoders."""
    layer, into = f"{published}_head.encoder.layer.{{n}}.", f"{ours}.decoder.{{n}}."
    return (
        (layer + "crossattention.output.dense.{rest}", into + "output.{rest}"),
        (layer + "crossattention.output.LayerNorm.{rest}", into + "attention_norm.{rest}"),
        (layer + "intermediate.dense.{rest}", into + "feedforward.0.{rest}"),
        (layer + "output.dense.{rest}", into + "feedforward.2.{rest}"),
        (layer + "output.LayerNorm.{rest}", into + "norm.{rest}"),
        (layer + "crossattention.self.{rest}", into + "{rest}"),
        (f"{published}_text_proj.{{rest}}", f"{ours}.text_projection.{{rest}}"),
        (f"{published}_vision_proj.{{rest}}", f"{ours}.region_projection.{{rest}}"),
        (f"{published}_fc.{{rest}}", f"{ours}.score.{{rest}}"),
    )


RECOGNITION: tuple[Rule, ...] = (
    *_decoder("tag", "heads.tag"),
    *_decoder("attr", "heads.contrast"),
    ("attr_t", "heads.contrast.temperature"),
    ("attr_b", "heads.contrast.bias"),
)
CAPTION: tuple[Rule, ...] = (
    ("t5_proj.{rest}", "heads.caption.projection.{rest}"),
    ("cem_memory", "heads.caption.memory"),
    ("t5_model.{rest}", "heads.caption.language_model.model.{rest}"),
)
RULES = (*REGION, *RECOGNITION, *CAPTION)
