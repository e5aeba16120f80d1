"""The encoder on small random models of many architectures, each held to sentence-transformers' own vectors.

What is compared is the arithmetic, for which random weights do: they are large enough to tell texts apart.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    MPNetConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    XLMRobertaConfig,
)

from questream.encoder import Encoder, load_encoder
from questream.encoder.library import LibraryForward
from questream.encoder.packed import PackedForward
from questream.errors import ModelError
from questream.settings import ModelSettings, Settings
from questream.tools.doctor.findings import Patient
from questream.tools.doctor.model_checks import check_model_files

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
    "xlm-roberta": lambda: XLMRobertaConfig(**SIZES, hidden_act="relu"),
    "mpnet": lambda: MPNetConfig(**SIZES),
    "distilbert": lambda: DistilBertConfig(
        vocab_size=64, dim=32, n_layers=2, n_heads=4, hidden_dim=64, max_position_embeddings=66, initializer_range=0.4
    ),
}
RANDOM = np.random.default_rng(3)
TEXTS = [" ".join(RANDOM.choice(WORDS, size=length)) for length in (1, 2, 3, 3, 3, 7, 12, 12, 30, 61, 62, 63, 90)]
# A text may spell special tokens out; in RoBERTa and MPNet the padding token then has no position.
TEXTS += ["w1 <pad> w2", "<s> <pad> <pad>", "words that nobody knows"]


def build_model(folder: Path, config: PretrainedConfig, **pooling: object) -> SentenceTransformer:
    """A random model of this architecture with a tokenizer of one token a word, as a library model."""
    torch.manual_seed(5)
    AutoModel.from_config(config).save_pretrained(folder)  # type: ignore[no-untyped-call]  # untyped in transformers
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(SPECIAL + WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.post_processor = TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)])
    names = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)  # type: ignore[no-untyped-call]  # as above
    fast.save_pretrained(folder)
    transformer = Transformer(str(folder), max_seq_length=64)
    width = transformer.get_embedding_dimension()
    return SentenceTransformer(modules=[transformer, Pooling(width, **pooling)], device="cpu")


def loaded(library: SentenceTransformer, folder: Path, dtype: str = "float32") -> Encoder:
    """The encoder on what the library saves of its model."""
    library.save(str(folder))
    # Some of the texts have words that nobody knows.
    settings = {"name": str(folder), "device": "cpu", "dtype": dtype, "max_unknown_share": 1.0}
    return load_encoder(ModelSettings.model_validate(settings))


def assert_same_vectors(encoder: Encoder, library: SentenceTransformer, cosine: float = 0.999999) -> None:
    expected = library.eval().encode(TEXTS, normalize_embeddings=True)
    alike = expected @ expected.T
    assert np.median(alike[np.triu_indices(len(TEXTS), 1)]) < 0.95, "the model must tell texts apart"
    assert (encoder.encode(TEXTS) * expected).sum(axis=1).min() >= cosine


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_gives_the_librarys_vectors(architecture: str, tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES[architecture]())
    encoder = loaded(library, tmp_path / "saved")
    expected = LibraryForward if architecture == "distilbert" else PackedForward
    assert isinstance(encoder.forward, expected)
    assert_same_vectors(encoder, library)


@pytest.mark.parametrize("architecture", ["bert", "mpnet"])
def test_bfloat16_keeps_the_vectors_of_the_architectures_it_is_used_for(architecture: str, tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES[architecture]())
    encoder = loaded(library, tmp_path / "saved", dtype="bfloat16")
    assert encoder.dtype == "bfloat16"
    assert_same_vectors(encoder, library, cosine=0.999)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ["bert", "mpnet"])
def test_attention_runs_in_the_fused_kernel(architecture: str, dtype: str, tmp_path: Path) -> None:
    """torch raises if it may use no other kernel than that one and cannot."""
    encoder = loaded(build_model(tmp_path / "built", ARCHITECTURES[architecture]()), tmp_path / "saved", dtype)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        assert len(encoder.encode(TEXTS)) == len(TEXTS)


@pytest.mark.parametrize("mode", ["cls", "max", "lasttoken", "weightedmean", ("mean", "max")])
def test_every_pooling_gives_the_librarys_vectors(mode: str | tuple[str, ...], tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES["bert"](), pooling_mode=mode)
    assert_same_vectors(loaded(library, tmp_path / "saved"), library)


def test_modules_after_the_pooling_are_the_models_own(tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES["mpnet"]())
    library.append(Dense(32, 8))
    library.append(Normalize())
    encoder = loaded(library, tmp_path / "saved")
    assert encoder.dimension == 8
    assert_same_vectors(encoder, library)


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize("architecture", ["roberta", "distilbert"])
def test_a_models_default_prompt_goes_before_every_text(
    architecture: str, include_prompt: bool, tmp_path: Path
) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES[architecture](), include_prompt=include_prompt)
    library.prompts, library.default_prompt_name = {"cluster": "w7 w8 w9 "}, "cluster"
    encoder = loaded(library, tmp_path / "saved")
    assert len(encoder.tokenise(["w1"])[0]) == 6
    assert_same_vectors(encoder, library)


def test_an_architecture_that_packing_gets_wrong_runs_as_the_library_runs_it(tmp_path: Path) -> None:
    config = BertConfig(**SIZES, is_decoder=True)  # each token then sees only those before it
    library = build_model(tmp_path / "built", config)
    encoder = loaded(library, tmp_path / "saved", dtype="bfloat16")
    assert isinstance(encoder.forward, LibraryForward)
    assert encoder.dtype == "float32"
    assert_same_vectors(encoder, library)


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
@pytest.mark.parametrize("normalised", [True, False])
def test_a_model_saved_with_fewer_dimensions_gives_as_many(architecture: str, normalised: bool, tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES[architecture]())
    if normalised:
        library.append(Normalize())
    library.truncate_dim = 8
    encoder = loaded(library, tmp_path / "saved")
    assert encoder.dimension == 8
    assert encoder.encode(["w1", "w2 w3"]).shape == (2, 8)
    assert_same_vectors(encoder, library)


# Positions from 0, or from one above the padding token's.
@pytest.mark.parametrize(
    ("architecture", "positions"), [("bert", 66), ("distilbert", 66), ("roberta", 64), ("mpnet", 64)]
)
def test_no_more_tokens_are_kept_than_the_model_has_positions(
    architecture: str, positions: int, tmp_path: Path
) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES[architecture]())
    library.max_seq_length = 1024
    encoder = loaded(library, tmp_path / "saved")
    assert encoder.max_tokens == positions
    (tokens,) = encoder.tokenise(["w1 " * 200])
    assert (len(tokens), tokens.truncated) == (positions, True)
    assert np.isfinite(encoder.encode_tokens([tokens])).all()
    settings = {"name": str(tmp_path / "saved"), "device": "cpu", "max_tokens": positions + 1}
    with pytest.raises(ModelError, match=f"model.max_tokens is {positions + 1}; this model takes 3 to {positions}"):
        load_encoder(ModelSettings.model_validate(settings))


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "mpnet", "roberta"])
def test_the_doctor_says_what_the_encoder_says(architecture: str, tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES[architecture]())
    library.max_seq_length = 1024
    library.truncate_dim = 8
    encoder = loaded(library, tmp_path / "saved")
    for asked, status in ((encoder.max_tokens, "ok"), (encoder.max_tokens + 1, "fail")):
        given = {"name": str(tmp_path / "saved"), "max_tokens": asked}
        patient = Patient(Settings(model=ModelSettings.model_validate(given)))
        (finding,) = check_model_files(patient)
        assert finding.status == status
        assert patient.model is not None
        assert patient.model.dimension == encoder.dimension == 8


def test_a_prompt_that_leaves_no_room_for_a_text_is_refused(tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES["bert"]())
    library.prompts, library.default_prompt_name = {"cluster": "w7 w8 w9 "}, "cluster"
    library.save(str(tmp_path / "saved"))
    with pytest.raises(ModelError, match=r"model\.max_tokens is 5; this model takes 6 to 64"):
        load_encoder(ModelSettings(name=str(tmp_path / "saved"), device="cpu", max_tokens=5))


MODULES: dict[str, Callable[[int], list[Any]]] = {
    "two layers": lambda width: [Dense(width, 16), Dense(16, 8, activation_function=torch.nn.Identity())],
    "layer norm": lambda width: [LayerNorm(width)],
    "dropout": lambda _: [Dropout(0.5)],
    "normalised, then a layer": lambda width: [Normalize(), Dense(width, 8)],
}


@pytest.mark.parametrize("modules", MODULES)
@pytest.mark.parametrize("architecture", ["mpnet", "distilbert"])
def test_every_module_behind_the_pooling_gives_the_librarys_vectors(
    modules: str, architecture: str, tmp_path: Path
) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES[architecture]())
    for module in MODULES[modules](32):
        library.append(module)
    encoder = loaded(library, tmp_path / "saved")
    assert encoder.dimension == library.encode("w1").shape[0]
    assert_same_vectors(encoder, library)


BEFORE_POOLING: dict[str, Callable[[], Any]] = {
    # Convolutions and recurrent layers read the padding of a batch: a text's vector then depends on its company.
    "convolution": lambda: CNN(32, out_channels=16, kernel_sizes=[3]),
    "recurrent": lambda: LSTM(32, 16),
    "weights of words": lambda: WordWeights(WORDS, dict.fromkeys(WORDS, 0.5)),
    "weights of layers": lambda: WeightedLayerPooling(32, num_hidden_layers=2, layer_start=1),
}


@pytest.mark.parametrize("module", BEFORE_POOLING)
@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_any_module_is_served_as_the_library_serves_it_or_refused_at_load(
    module: str, architecture: str, tmp_path: Path
) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES[architecture]())
    between = BEFORE_POOLING[module]()
    width = getattr(between, "get_embedding_dimension", lambda: 32)()
    library = SentenceTransformer(modules=[library[0], between, Pooling(width)], device="cpu")
    library.save(str(tmp_path / "saved"))
    try:
        encoder = load_encoder(
            ModelSettings(name=str(tmp_path / "saved"), device="cpu", dtype="float32", max_unknown_share=1)
        )
    except ModelError as refused:
        assert "SentenceTransformer" in str(refused) or "choose" in str(refused)  # noqa: PT017 (either end is right)
        return
    library = SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    for text in TEXTS:
        expected = library.encode(text, normalize_embeddings=True)
        assert float(encoder.encode([text, *TEXTS])[0] @ expected) > 0.999999


def static(folder: Path) -> SentenceTransformer:
    tokenizer = build_model(folder, ARCHITECTURES["bert"]()).tokenizer
    return SentenceTransformer(modules=[StaticEmbedding(tokenizer.backend_tokenizer, embedding_dim=16)], device="cpu")


def routed(folder: Path) -> SentenceTransformer:
    library = build_model(folder, ARCHITECTURES["bert"]())
    route = [library[0], library[1]]
    return SentenceTransformer(
        modules=[Router({"query": route, "document": route}, default_route="document")], device="cpu"
    )


def test_a_transformer_behind_a_router_gives_the_librarys_vectors(tmp_path: Path) -> None:
    library = routed(tmp_path / "built")
    assert_same_vectors(loaded(library, tmp_path / "saved"), library)


def test_a_model_without_a_transformer_is_refused(tmp_path: Path) -> None:
    static(tmp_path / "built").save(str(tmp_path / "saved"))
    with pytest.raises(ModelError, match="is not a transformer with a fast tokenizer"):
        load_encoder(ModelSettings(name=str(tmp_path / "saved"), device="cpu"))


def test_a_row_that_is_not_finite_leaves_the_others_alone(tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES["mpnet"]())
    with torch.no_grad():
        library.transformers_model.embeddings.word_embeddings.weight[4] = float("nan")
    encoder = loaded(library, tmp_path / "saved")
    vectors = encoder.encode(["w1 w2", "w0 w2", "w3"])
    assert np.isfinite(vectors).all(axis=1).tolist() == [True, False, True]
    np.testing.assert_allclose(vectors[[0, 2]], encoder.encode(["w1 w2", "w3"]), atol=1e-6)


def test_a_model_in_a_folder_is_told_by_its_weights(tmp_path: Path) -> None:
    library = build_model(tmp_path / "built", ARCHITECTURES["bert"]())
    here, there = loaded(library, tmp_path / "a" / "mine"), loaded(library, tmp_path / "b" / "mine")
    assert (here.name, here.revision) == (there.name, there.revision)
    with torch.no_grad():
        library.transformers_model.embeddings.word_embeddings.weight[9] += 1.0
    assert loaded(library, tmp_path / "c" / "mine").revision != here.revision
