"""How fast a config runs on this machine: loading, training, evaluation, and their share of the matmul peak.

`counting` says how much arithmetic a run does, `timing` how long it takes and how much memory it needs,
`machine` what the machine could do at best, `subject` builds what is measured, `report` prints it.
``tools/benchmark.py`` is the command. `regions` compares ways to embed and describe regions, and
`region_arithmetic` counts multiply-adds of DynRefer at its published size: ``tools/benchmark_regions.py``.
"""
