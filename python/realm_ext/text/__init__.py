"""Text in and out: tokenizing, decoding as tokens come, chat templates."""

from realm_ext._core import StreamDecoder, Vocabulary
from realm_ext.text.chat_template import ChatTemplate
from realm_ext.text.tokenizer import Tokenizer

__all__ = ["ChatTemplate", "StreamDecoder", "Tokenizer", "Vocabulary"]
