"""OneRef's mask head with the released coefficients; answers by refkit's rule, at the size of the picture."""

from refkit.heads import CosineMaskHead

mask_head = dict(
    type=CosineMaskHead,
    target="mask",
    focal_weight=20.0,
    dice_weight=2.0,
    mask_rule="upsampled",
    metric_resolution="image",
)
