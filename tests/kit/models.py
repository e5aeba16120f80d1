"""Small random models of many architectures, as sentence-transformers' own objects.

Imports torch and transformers, which takes seconds: tests import this module where they use it, not at their top.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Router, Transformer
from sentence_transformers.sentence_transformer.modules import (
    CNN,
    LSTM,
    Dropout,
    LayerNorm,
    Pooling,
    StaticEmbedding,
    WeightedLayerPooling,
    WordWeights,
)
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import PretrainedConfig, PreTrainedTokenizerFast
from transformers.models.auto import AutoModel, AutoModelForSequenceClassification
from transformers.models.bert import BertConfig
from transformers.models.distilbert import DistilBertConfig
from transformers.models.mpnet import MPNetConfig
from transformers.models.roberta import RobertaConfig
from transformers.models.xlm_roberta import XLMRobertaConfig

WORDS = [f"w{number}" for number in range(60)]
SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]
SIZES: dict[str, Any] = {
    "vocab_size": len(SPECIAL) + len(WORDS),
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 66,
    # The usual .02 would make all texts alike.
    "initializer_range": 0.4,
    "pad_token_id": 1,
}
ARCHITECTURES: dict[str, Callable[[], PretrainedConfig]] = {
    "bert": lambda: BertConfig(**SIZES),
    "roberta": lambda: RobertaConfig(**SIZES, type_vocab_size=1),
    # Each token sees only those before it.
    "bert as a decoder": lambda: BertConfig(**SIZES, is_decoder=True),
    "xlm-roberta": lambda: XLMRobertaConfig(**SIZES, hidden_act="relu"),
    "mpnet": lambda: MPNetConfig(**SIZES),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=64, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=66, initializer_range=0.4
    ),
}
BEHIND_POOLING: dict[str, Callable[[int], list[Any]]] = {
    "two layers": lambda width: [Dense(width, 16), Dense(16, 8, activation_function=torch.nn.Identity())],
    "layer norm": lambda width: [LayerNorm(width)],
    "dropout": lambda _: [Dropout(0.5)],
    "normalised, then a layer": lambda width: [Normalize(), Dense(width, 8)],
}
BEFORE_POOLING: dict[str, Callable[[], Any]] = {
    # Convolutions and recurrent layers read the padding of a batch: a text's vector then depends on its company.
    "convolution": lambda: CNN(32, out_channels=16, kernel_sizes=[3]),
    "recurrent": lambda: LSTM(32, 16),
    "weights of words": lambda: WordWeights(WORDS, dict.fromkeys(WORDS, 0.5)),
    "weights of layers": lambda: WeightedLayerPooling(32, num_hidden_layers=2, layer_start=1),
}


def build_model(folder: Path, architecture: str, **pooling: object) -> SentenceTransformer:
    """A random model of this architecture with a tokenizer of one token a word, as a library model."""
    torch.manual_seed(5)
    AutoModel.from_config(ARCHITECTURES[architecture]()).save_pretrained(folder)
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(SPECIAL + WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)  # type: ignore[no-untyped-call]  # untyped in transformers
    fast.save_pretrained(folder)
    transformer = Transformer(str(folder), max_seq_length=64)
    width = transformer.get_embedding_dimension()
    return SentenceTransformer(modules=[transformer, Pooling(width, **pooling)], device="cpu")


def save_cross_encoder(folder: Path) -> Path:
    """A random cross-encoder with one score, as published ones lie in a folder; returns the folder."""
    build_model(folder, "bert")
    AutoModelForSequenceClassification.from_config(BertConfig(**SIZES, id2label={0: "same"})).save_pretrained(folder)
    return folder


def with_module_before_pooling(library: SentenceTransformer, module: str) -> SentenceTransformer:
    """The model with one of `BEFORE_POOLING` between its transformer and a pooling."""
    between = BEFORE_POOLING[module]()
    width = getattr(between, "get_embedding_dimension", lambda: 32)()
    return SentenceTransformer(modules=[library[0], between, Pooling(width)], device="cpu")


def static(folder: Path) -> SentenceTransformer:
    """A model of a vector for each token, without a transformer."""
    tokenizer = build_model(folder, "bert").tokenizer
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer.backend_tokenizer, embedding_dim=16)], device="cpu")


def routed(folder: Path) -> SentenceTransformer:
    """A transformer that a router sends queries and documents to."""
    library = build_model(folder, "bert")
    route = [library[0], library[1]]
    return SentenceTransformer(
        modules=[Router({"query": route, "document": route}, default_route="document")], device="cpu"
    )
