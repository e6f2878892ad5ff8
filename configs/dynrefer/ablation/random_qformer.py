"""DynRefer on VG-COCO and RefCOCOg with a Q-Former from random weights.

Table 7, row 15. Published values: OVAD mAP 28.8; COCO accuracy 90.3; VG-COCO mAP 46.7; RefCOCOg METEOR 17.9,
CIDEr 113.1.

What became of the queries is not stated; here they are random and trained, too. Trained on VG-COCO and
RefCOCOg, as all ablations; everything else as in the released recipe of `dynrefer_eva_vg`, chosen by the
picture in evaluation. Batch per GPU 64 on 8 GPUs.

    python -c "from safetensors.torch import load_file as load, save_file as save; \
        start = load('downloads/dynrefer_start_eva.safetensors'); \
        save({k: v for k, v in start.items() if not k.startswith('backbone.qformer.')}, \
        'downloads/dynrefer_start_eva_no_qformer.safetensors')"
    refkit train configs/dynrefer/ablation/random_qformer.py
"""

from mmengine.config import read_base

with read_base():
    from ..._base_.dynrefer_ablation import *

model.update(freeze=["backbone.tower", "backbone.norm", "text_encoder", "heads.caption.language_model"])
load_from = "downloads/dynrefer_start_eva_no_qformer.safetensors"
load_allow_missing = [
    "backbone.align.*",
    "backbone.fusion.*",
    "backbone.qformer.*",
    "heads.tag.*",
    "heads.contrast.*",
    "heads.caption.memory",
]
