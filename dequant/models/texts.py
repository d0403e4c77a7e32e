"""How texts become tokens."""

from collections.abc import Sequence
from typing import Any

from transformers import BatchEncoding, PreTrainedTokenizerBase


def tokenized(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], encoder: Any) -> BatchEncoding:
    """Tokens of texts, (B, T), padded and cut to what a text encoder reads."""
    return tokenizer(
        list(texts),
        padding="max_length",
        truncation=True,
        max_length=_length(tokenizer, encoder),
        return_tensors="pt",
    )


def is_read(tokenizer: PreTrainedTokenizerBase, text: str, encoder: Any) -> bool:
    """Whether a text encoder reads a text to its end."""
    return len(tokenizer(text).input_ids) <= _length(tokenizer, encoder)


def _length(tokenizer: PreTrainedTokenizerBase, encoder: Any) -> int:
    return int(min(tokenizer.model_max_length, encoder.config.max_position_embeddings))
