"""Ablation tables: the same training with single settings changed, over several seeds, at one budget."""

from refkit.engine.ablation.make import make_table
from refkit.engine.ablation.plan import Wishes
from refkit.engine.ablation.table import Metric, Row, Table, TableError, read_table

__all__ = ["Metric", "Row", "Table", "TableError", "Wishes", "make_table", "read_table"]
