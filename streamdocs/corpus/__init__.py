"""Corpora: web documents in MDS shards with their tokens, and an index of document sizes and digests."""

from streamdocs.corpus.columns.conditions import Condition, Where
from streamdocs.corpus.files import DOCUMENT_DTYPE, document_digest, info, load_documents, load_index
from streamdocs.corpus.prepare import prepare_corpus
from streamdocs.corpus.sources import BadRow, Document, UnreadableRest, read_documents
from streamdocs.corpus.tokenizing.tokenizer import CorpusTokenizer

__all__ = [
    "DOCUMENT_DTYPE",
    "BadRow",
    "Condition",
    "CorpusTokenizer",
    "Document",
    "UnreadableRest",
    "Where",
    "document_digest",
    "info",
    "load_documents",
    "load_index",
    "prepare_corpus",
    "read_documents",
]
