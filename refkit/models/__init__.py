"""Which backbone, which heads, nothing else."""
