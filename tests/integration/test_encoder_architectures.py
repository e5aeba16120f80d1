"""The encoder on small random models of many architectures, each held to sentence-transformers' own vectors.

What is compared is the arithmetic, for which random weights do: they are large enough to tell texts apart.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np
import pytest

from questream.encoder import Encoder, load_encoder
from questream.errors import ModelError
from questream.settings import ModelSettings, Settings
from questream.tools.doctor.findings import CheckContext
from questream.tools.doctor.model_checks import check_model_files

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

# By name, as `tests.kit.models` takes seconds to import: collecting tests must not wait for it.
ARCHITECTURES = ("bert", "roberta", "xlm-roberta", "mpnet", "distilbert")
DECODER = "bert as a decoder"
BEHIND_POOLING = ("two layers", "layer norm", "dropout", "normalised, then a layer")
BEFORE_POOLING = ("convolution", "recurrent", "weights of words", "weights of layers")
WORDS = [f"w{number}" for number in range(60)]
RANDOM = np.random.default_rng(3)
TEXTS = [" ".join(RANDOM.choice(WORDS, size=length)) for length in (1, 2, 3, 3, 3, 7, 12, 12, 30, 61, 62, 63, 90)]
# A text may spell special tokens out; in RoBERTa and MPNet the padding token then has no position.
TEXTS += ["w1 <pad> w2", "<s> <pad> <pad>", "words that nobody knows"]


@pytest.fixture(scope="module")
def models() -> ModuleType:
    """`tests.kit.models`, which builds them."""
    return import_module("tests.kit.models")


def test_every_model_of_the_kit_is_tried_here(models: ModuleType) -> None:
    assert tuple(models.WORDS) == tuple(WORDS)
    assert set(models.ARCHITECTURES) == {*ARCHITECTURES, DECODER}
    assert set(models.BEHIND_POOLING) == set(BEHIND_POOLING)
    assert set(models.BEFORE_POOLING) == set(BEFORE_POOLING)


def loaded(library: SentenceTransformer, folder: Path, dtype: str = "float32") -> Encoder:
    """The encoder on what the library saves of its model, as its first start gives it; a second one gives the same."""
    library.save(str(folder))
    # Some of the texts have words that nobody knows.
    settings = {"name": str(folder), "device": "cpu", "dtype": dtype, "max_unknown_share": 1.0}
    probes = folder.with_name("probes")
    first, second = (load_encoder(ModelSettings.model_validate(settings), probes) for _ in range(2))
    assert (second.dtype, second.dimension, second.max_tokens) == (first.dtype, first.dimension, first.max_tokens)
    np.testing.assert_allclose(second.encode(TEXTS), first.encode(TEXTS), atol=1e-6)
    return first


def assert_same_vectors(encoder: Encoder, library: SentenceTransformer, cosine: float = 0.999999) -> None:
    expected = library.eval().encode(TEXTS, normalize_embeddings=True)
    alike = expected @ expected.T
    assert np.median(alike[np.triu_indices(len(TEXTS), 1)]) < 0.95, "the model must tell texts apart"
    assert (encoder.encode(TEXTS) * expected).sum(axis=1).min() >= cosine


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_gives_the_librarys_vectors(architecture: str, tmp_path: Path, models: ModuleType) -> None:
    from questream.encoder.library import LibraryForward
    from questream.encoder.packed import PackedForward

    library = models.build_model(tmp_path / "built", architecture)
    encoder = loaded(library, tmp_path / "saved")
    expected = LibraryForward if architecture == "distilbert" else PackedForward
    assert isinstance(encoder.forward, expected)
    assert_same_vectors(encoder, library)


@pytest.mark.parametrize("architecture", ["bert", "mpnet"])
def test_bfloat16_keeps_the_vectors_of_the_architectures_it_is_used_for(
    architecture: str, tmp_path: Path, models: ModuleType
) -> None:
    library = models.build_model(tmp_path / "built", architecture)
    encoder = loaded(library, tmp_path / "saved", dtype="bfloat16")
    assert encoder.dtype == "bfloat16"
    assert_same_vectors(encoder, library, cosine=0.999)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", ["bert", "mpnet"])
def test_attention_runs_in_the_fused_kernel(architecture: str, dtype: str, tmp_path: Path, models: ModuleType) -> None:
    """torch raises if it may use no other kernel than that one and cannot."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    encoder = loaded(models.build_model(tmp_path / "built", architecture), tmp_path / "saved", dtype)
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        assert len(encoder.encode(TEXTS)) == len(TEXTS)


@pytest.mark.parametrize("mode", ["cls", "max", "lasttoken", "weightedmean", ("mean", "max")])
def test_every_pooling_gives_the_librarys_vectors(
    mode: str | tuple[str, ...], tmp_path: Path, models: ModuleType
) -> None:
    library = models.build_model(tmp_path / "built", "bert", pooling_mode=mode)
    assert_same_vectors(loaded(library, tmp_path / "saved"), library)


def test_modules_after_the_pooling_are_the_models_own(tmp_path: Path, models: ModuleType) -> None:
    library = models.build_model(tmp_path / "built", "mpnet")
    library.append(models.Dense(32, 8))
    library.append(models.Normalize())
    encoder = loaded(library, tmp_path / "saved")
    assert encoder.dimension == 8
    assert_same_vectors(encoder, library)


@pytest.mark.parametrize("include_prompt", [True, False])
@pytest.mark.parametrize("architecture", ["roberta", "distilbert"])
def test_a_models_default_prompt_goes_before_every_text(
    architecture: str, include_prompt: bool, tmp_path: Path, models: ModuleType
) -> None:
    library = models.build_model(tmp_path / "built", architecture, include_prompt=include_prompt)
    library.prompts, library.default_prompt_name = {"cluster": "w7 w8 w9 "}, "cluster"
    encoder = loaded(library, tmp_path / "saved")
    assert len(encoder.tokenise(["w1"])[0]) == 6
    assert_same_vectors(encoder, library)


def test_an_architecture_that_packing_gets_wrong_runs_as_the_library_runs_it(
    tmp_path: Path, models: ModuleType
) -> None:
    from questream.encoder.library import LibraryForward

    library = models.build_model(tmp_path / "built", DECODER)
    encoder = loaded(library, tmp_path / "saved", dtype="bfloat16")
    assert isinstance(encoder.forward, LibraryForward)
    assert encoder.dtype == "float32"
    assert_same_vectors(encoder, library)


@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
@pytest.mark.parametrize("normalised", [True, False])
def test_a_model_saved_with_fewer_dimensions_gives_as_many(
    architecture: str, normalised: bool, tmp_path: Path, models: ModuleType
) -> None:
    library = models.build_model(tmp_path / "built", architecture)
    if normalised:
        library.append(models.Normalize())
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
    architecture: str, positions: int, tmp_path: Path, models: ModuleType
) -> None:
    library = models.build_model(tmp_path / "built", architecture)
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
def test_the_doctor_says_what_the_encoder_says(architecture: str, tmp_path: Path, models: ModuleType) -> None:
    library = models.build_model(tmp_path / "built", architecture)
    library.max_seq_length = 1024
    library.truncate_dim = 8
    encoder = loaded(library, tmp_path / "saved")
    for asked, status in ((encoder.max_tokens, "ok"), (encoder.max_tokens + 1, "fail")):
        given = {"name": str(tmp_path / "saved"), "max_tokens": asked}
        context = CheckContext(Settings(model=ModelSettings.model_validate(given)))
        (finding,) = check_model_files(context)
        assert finding.status == status
        assert context.model is not None
        assert context.model.dimension == encoder.dimension == 8


def test_a_prompt_that_leaves_no_room_for_a_text_is_refused(tmp_path: Path, models: ModuleType) -> None:
    library = models.build_model(tmp_path / "built", "bert")
    library.prompts, library.default_prompt_name = {"cluster": "w7 w8 w9 "}, "cluster"
    library.save(str(tmp_path / "saved"))
    with pytest.raises(ModelError, match=r"model\.max_tokens is 5; this model takes 6 to 64"):
        load_encoder(ModelSettings(name=str(tmp_path / "saved"), device="cpu", max_tokens=5))


@pytest.mark.parametrize("modules", BEHIND_POOLING)
@pytest.mark.parametrize("architecture", ["mpnet", "distilbert"])
def test_every_module_behind_the_pooling_gives_the_librarys_vectors(
    modules: str, architecture: str, tmp_path: Path, models: ModuleType
) -> None:
    library = models.build_model(tmp_path / "built", architecture)
    for module in models.BEHIND_POOLING[modules](32):
        library.append(module)
    encoder = loaded(library, tmp_path / "saved")
    assert encoder.dimension == library.encode("w1").shape[0]
    assert_same_vectors(encoder, library)


@pytest.mark.parametrize("module", BEFORE_POOLING)
@pytest.mark.parametrize("architecture", ["bert", "distilbert"])
def test_any_module_is_served_as_the_library_serves_it_or_refused_at_load(
    module: str, architecture: str, tmp_path: Path, models: ModuleType
) -> None:
    library = models.build_model(tmp_path / "built", architecture)
    library = models.with_module_before_pooling(library, module)
    library.save(str(tmp_path / "saved"))
    try:
        encoder = load_encoder(
            ModelSettings(name=str(tmp_path / "saved"), device="cpu", dtype="float32", max_unknown_share=1)
        )
    except ModelError as refused:
        assert "SentenceTransformer" in str(refused) or "choose" in str(refused)  # noqa: PT017 (either end is right)
        return
    library = models.SentenceTransformer(str(tmp_path / "saved"), device="cpu")
    for text in TEXTS:
        expected = library.encode(text, normalize_embeddings=True)
        assert float(encoder.encode([text, *TEXTS])[0] @ expected) > 0.999999


def test_a_transformer_behind_a_router_gives_the_librarys_vectors(tmp_path: Path, models: ModuleType) -> None:
    library = models.routed(tmp_path / "built")
    assert_same_vectors(loaded(library, tmp_path / "saved"), library)


def test_a_model_without_a_transformer_is_refused(tmp_path: Path, models: ModuleType) -> None:
    models.static(tmp_path / "built").save(str(tmp_path / "saved"))
    with pytest.raises(ModelError, match="is not a transformer with a fast tokenizer"):
        load_encoder(ModelSettings(name=str(tmp_path / "saved"), device="cpu"))


def test_a_row_that_is_not_finite_leaves_the_others_alone(tmp_path: Path, models: ModuleType) -> None:
    library = models.build_model(tmp_path / "built", "mpnet")
    with models.torch.no_grad():
        library.transformers_model.embeddings.word_embeddings.weight[4] = float("nan")
    encoder = loaded(library, tmp_path / "saved")
    vectors = encoder.encode(["w1 w2", "w0 w2", "w3"])
    assert np.isfinite(vectors).all(axis=1).tolist() == [True, False, True]
    np.testing.assert_allclose(vectors[[0, 2]], encoder.encode(["w1 w2", "w3"]), atol=1e-6)


def test_a_model_in_a_folder_is_told_by_its_weights(tmp_path: Path, models: ModuleType) -> None:
    library = models.build_model(tmp_path / "built", "bert")
    here, there = loaded(library, tmp_path / "a" / "mine"), loaded(library, tmp_path / "b" / "mine")
    assert (here.name, here.revision) == (there.name, there.revision)
    with models.torch.no_grad():
        library.transformers_model.embeddings.word_embeddings.weight[9] += 1.0
    assert loaded(library, tmp_path / "c" / "mine").revision != here.revision
