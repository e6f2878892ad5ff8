"""The released recipe of OneRef on Flickr30k Entities, one enclosing box per phrase."""

from mmengine.config import read_base

with read_base():
    from .oneref_recipe import *

train_dataloader["dataset"].update(records="records/flickr30k.entities.train.jsonl")
val_dataloader["dataset"].update(records="records/flickr30k.entities.val.jsonl")
test_dataloader["dataset"].update(records="records/flickr30k.entities.test.jsonl")
