"""Trained models for servers and devices: SavedModel, LiteRT, ONNX; written, then compared."""

from rnnzoo.export._errors import ExportError
from rnnzoo.export._models import describe, export_model, load_check

__all__ = ["ExportError", "describe", "export_model", "load_check"]
