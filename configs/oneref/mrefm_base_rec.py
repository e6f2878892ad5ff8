"""Mask Referring Modeling for boxes: OneRef-B on RefCOCO, RefCOCO+, RefCOCOg and ReferIt.

Pre-training, no row of a table: no published value. Models for boxes (`oneref_base_mixture` and its kind)
start from it.

The published data are the plain union, 375,454 expressions (paper: 0.5 M), evaluation pictures included;
here these are left out of all members, and `train_dataloader.dataset.exclude_evaluated=False` restores the
union.

Recipe of the released scripts, where it says more or other than the paper: image steps and text steps
alternate; both relation scores are off; patches are hidden one by one, a region having a margin of one
patch (paper: in blocks); words are read from the text alone (paper: from words times picture), their labels
are smoothed by 0.1 and the worst 20 % left out after 12,000 steps; both steps have the box-mask constraint,
focal 20 and dice 2; rate 5e-5 in the second stage. `mrefm_base_rec_paper` is the paper's way. Differs from
the released code: crops that would leave a box without area are drawn again; subject and object are those
of `refkit data parse`, or its rules.
The released scripts for several machines have other numbers (200 epochs, rate 1e-3); which of them made the
released weights is not known.
Starts from the released BEiT-3 with its masked heads, and the released VQ-KD names the codes. Batch per GPU
64, then 32, on 8 GPUs.

    refkit zoo import downloads/beit3_base_indomain_patch16_224.pth --layout beit3 --image-size 384 \
        --out downloads/beit3_base.safetensors
    refkit zoo import downloads/vqkd_encoder_base_decoder_3x768x12_clip-d5036aa7.pth --layout vqkd \
        --out downloads/vqkd.safetensors
    refkit train configs/oneref/mrefm_base_rec.py
"""

from mmengine.config import read_base

with read_base():
    from .._base_.oneref_mrefm_data_referit import *
    from .._base_.oneref_base_mrefm import *
