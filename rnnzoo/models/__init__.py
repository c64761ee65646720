"""Models of recurrent layers: under a Dense head, deep stacks, language models."""

from rnnzoo.models._stack import dense, recurrent, recurrent_layers, set_return_sequences, stack
from rnnzoo.models.language_model import LanguageModel, next_token_model

__all__ = [
    "LanguageModel",
    "dense",
    "next_token_model",
    "recurrent",
    "recurrent_layers",
    "set_return_sequences",
    "stack",
]
