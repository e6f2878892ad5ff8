"""Intervals, paired tests and their correction, with the image as the unit that was sampled (evaluation
specification, 2.11)."""

from refkit.leaderboard.statistics.bootstrap import INTERVAL_DECIMALS, ImageBootstrap
from refkit.leaderboard.statistics.paired import (
    McNemar,
    PairedBootstrap,
    PairedDifference,
    cluster_standard_error,
    holm,
    mcnemar_exact,
    wilson_interval,
)

__all__ = [
    "INTERVAL_DECIMALS",
    "ImageBootstrap",
    "McNemar",
    "PairedBootstrap",
    "PairedDifference",
    "cluster_standard_error",
    "holm",
    "mcnemar_exact",
    "wilson_interval",
]
