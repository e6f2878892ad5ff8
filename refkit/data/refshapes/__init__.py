"""RefShapes: the embedded data set, drawn on the fly from (seed, index); no download.

Three to eight objects on a textured background, and one unambiguous expression of each kind per scene.
"""

from refkit.data.refshapes.expressions import KINDS, vocabulary
from refkit.data.refshapes.world import Situation, imagine, iter_records

__all__ = ["KINDS", "Situation", "imagine", "iter_records", "vocabulary"]
