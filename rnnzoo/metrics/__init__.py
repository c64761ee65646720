"""Losses and metrics of sequence models, by which Keras finds them in files."""

from rnnzoo.metrics.frame_likelihood import FrameLoss, FrameNLL
from rnnzoo.metrics.half_squared_error import HalfSquaredError
from rnnzoo.metrics.perplexity import BitsPerCharacter, Perplexity, TokenCrossEntropy
from rnnzoo.metrics.recall_accuracy import RecallAccuracy
from rnnzoo.metrics.span_f1 import SpanF1

__all__ = [
    "BitsPerCharacter",
    "FrameLoss",
    "FrameNLL",
    "HalfSquaredError",
    "Perplexity",
    "RecallAccuracy",
    "SpanF1",
    "TokenCrossEntropy",
]
