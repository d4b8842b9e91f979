"""protect(): guarded copies of models, retrievers, tools, chains and graphs."""

from ._choose import guarded_model, is_signal, protect, refuse_stages

__all__ = ["guarded_model", "is_signal", "protect", "refuse_stages"]
