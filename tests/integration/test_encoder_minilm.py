"""The encoder on the real all-MiniLM-L6-v2, held to sentence-transformers' own vectors of the same texts."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from questream.domain import Matrix
from questream.encoder import Encoder, load_encoder
from questream.errors import BadRecord, ModelError
from questream.settings import ModelSettings
from tests.unit.test_encoder_trust import Bomb

TEXTS = (
    "What?",
    "How do I reset my password?",
    "I forgot my password, how can I get a new one?",
    "Why was my card payment declined?",
    "Por qué no puedo iniciar sesión?",
    "パスワードを忘れました",
    "Ist die Überweisung schon da? 🤔",
    "[PAD] [CLS] literally [SEP]",
    "a\tb\nc\u200bd\x00e",
    "tokens " * 100,
    "far more tokens than the model takes " * 100,
)


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the probe of the first start is kept for the second."""
    return tmp_path_factory.mktemp("probes")


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def encoder(request: pytest.FixtureRequest, minilm: Path, tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    """The encoder as its first start on a machine gives it."""
    settings = ModelSettings(name=str(minilm), device="cpu", dtype=request.param)
    return load_encoder(settings, tmp_path_factory.mktemp("no-probes"))


@pytest.fixture(scope="module")
def exact(minilm: Path, probes: Path) -> Encoder:
    """The encoder in float32, in which rounding is far below what these tests look at, as a second start gives it."""
    settings = ModelSettings(name=str(minilm), device="cpu", dtype="float32")
    load_encoder(settings, probes)
    return load_encoder(settings, probes)


@pytest.fixture(scope="module")
def library_vectors(minilm: Path) -> Matrix:
    """TEXTS as sentence-transformers embeds them, one at a time."""
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(minilm), device="cpu", local_files_only=True)
    return np.stack([library.encode(text) for text in TEXTS])


def symlinked(model: Path, to: Path, *left_out: str) -> Path:
    """A folder of links to the model's files, but for some."""
    to.mkdir()
    for path in model.iterdir():
        if path.name not in left_out:
            (to / path.name).symlink_to(path)
    return to


def test_vectors_are_those_of_sentence_transformers(encoder: Encoder, library_vectors: Matrix) -> None:
    cosines = (encoder.encode(TEXTS) * library_vectors).sum(axis=1)
    assert cosines.min() >= 0.9999


def test_rows_are_contiguous_float32_of_length_one(encoder: Encoder) -> None:
    vectors = encoder.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), encoder.dimension) == (len(TEXTS), 384)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)


def test_no_texts_make_no_rows(encoder: Encoder) -> None:
    assert encoder.tokenise([]) == []
    assert encoder.encode([]).shape == (0, 384)


@settings(max_examples=25, deadline=None)
@given(batch=st.lists(st.integers(0, len(TEXTS) - 1), min_size=1, max_size=40))
def test_a_text_has_the_same_vector_in_every_batch(exact: Encoder, library_vectors: Matrix, batch: list[int]) -> None:
    vectors = exact.encode([TEXTS[number] for number in batch])
    np.testing.assert_allclose(vectors, library_vectors[batch], atol=1e-5)


class Counting:
    """The model of an encoder, and how many texts went through it."""

    def __init__(self, encoder: Encoder) -> None:
        self.batch_tokens = encoder.forward.batch_tokens
        self.texts = 0
        self._forward = encoder.forward

    def __call__(self, batches: Sequence[Sequence[NDArray[np.int32]]]) -> Matrix:
        self.texts += sum(map(len, batches))
        return self._forward(batches)


@settings(max_examples=25, deadline=None)
@given(batch=st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_equal_texts_of_a_batch_are_embedded_once(exact: Encoder, batch: list[int]) -> None:
    counting = Counting(exact)
    vectors = replace(exact, forward=counting).encode([TEXTS[number] for number in batch])
    assert counting.texts == len(set(batch))
    # Neither another row nor another rounding: the row of a text is that of its first.
    np.testing.assert_array_equal(vectors, vectors[[batch.index(number) for number in batch]])
    assert len({row.tobytes() for row in vectors}) == len(set(batch))


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=200))
def test_any_unicode_text_gets_a_finite_vector_or_is_a_bad_record(exact: Encoder, text: str) -> None:
    try:
        (tokens,) = exact.tokenise([text])
    except BadRecord as refused:
        assert refused.reason in ("no_tokens", "mostly_unknown")  # noqa: PT017 (either end is right)
        return
    assert 2 <= len(tokens) <= exact.max_tokens
    assert np.isfinite(exact.encode_tokens([tokens])).all()


def test_truncation_begins_at_one_token_too_many(encoder: Encoder) -> None:
    # "a" is one token, and [CLS] and [SEP] are two.
    fits, full, over = encoder.tokenise(["a " * 253, "a " * 254, "a " * 255])
    assert [len(tokens) for tokens in (fits, full, over)] == [255, 256, 256]
    assert [tokens.truncated for tokens in (fits, full, over)] == [False, False, True]
    vectors = encoder.encode_tokens([full, over])
    np.testing.assert_array_equal(vectors[0], vectors[1])


def test_the_limit_is_the_models_own_unless_a_setting_lowers_it(encoder: Encoder, minilm: Path) -> None:
    assert encoder.max_tokens == 256
    short = load_encoder(ModelSettings(name=str(minilm), device="cpu", max_tokens=8))
    (tokens,) = short.tokenise(["one two three four five six seven"])
    assert (len(tokens), tokens.truncated) == (8, True)


def test_a_limit_above_the_models_own_is_refused_with_the_range(minilm: Path) -> None:
    with pytest.raises(ModelError, match="takes 3 to 256"):
        load_encoder(ModelSettings(name=str(minilm), device="cpu", max_tokens=257))


@pytest.mark.parametrize(
    "unit", ["a ", "a\t", "?", "密", "a\u0301", "ไ ", "🙂 ", "w" * 101 + " ", "don't. ", "[SEP]", "Résumé, "]
)
@pytest.mark.parametrize("behind", ["", " and [MASK]\u0301", "密x"])
def test_a_long_text_has_the_tokens_that_it_has_uncut(lenient: Encoder, minilm: Path, unit: str, behind: str) -> None:
    uncut = Tokenizer.from_file(str(minilm / "tokenizer.json"))
    uncut.no_padding()
    uncut.enable_truncation(lenient.max_tokens)
    text = unit * 6000 + behind
    whole = uncut.encode(text)
    (tokens,) = lenient.tokenise([text])
    assert tokens.ids.tolist() == whole.ids
    assert tokens.truncated == bool(whole.overflowing)


@pytest.fixture(scope="module")
def lenient(minilm: Path) -> Encoder:
    """The encoder that takes any text of which there is something to embed."""
    return load_encoder(ModelSettings(name=str(minilm), device="cpu", max_unknown_share=1.0))


UNKNOWN = (
    "รีเซ็ตรหัสผ่านอย่างไร",
    "บัตรของฉันอยู่ที่ไหน?",
    "အကောင့်ပိတ်ချင်တယ်!!!",
    "🙂",
    "💳❓",
    "(🙂)... 🤔?",
    "QWxhZGRpbjpvcGVuIHNlc2FtZQ" * 5,
    "Donaudampfschiff" * 9,
    "รหัสผ่าน " * 1000,
    "why รหัสผ่าน บัตร ของฉัน?",
)


@pytest.mark.parametrize("text", UNKNOWN)
def test_a_text_that_the_model_knows_next_to_nothing_of_is_a_bad_record(exact: Encoder, text: str) -> None:
    with pytest.raises(BadRecord) as refused:
        exact.tokenise([text])
    assert (refused.value.stage, refused.value.reason) == ("tokenise", "mostly_unknown")
    assert "model.max_unknown_share (0.4)" in str(refused.value)
    assert text[:3] not in str(refused.value)


@pytest.mark.parametrize("text", ["\ufffd\ufffd", "\ue000", "\u0301", "\u200b\u200d"])
def test_a_text_of_which_the_tokenizer_leaves_nothing_is_a_bad_record(exact: Encoder, text: str) -> None:
    with pytest.raises(BadRecord) as refused:
        exact.tokenise([text])
    assert (refused.value.stage, refused.value.reason) == ("tokenise", "no_tokens")


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("How do I reset my password?", 0.0),
        ("Wie setze ich mein Passwort zurück?", 0.0),
        ("Reset 💳", 0.5),
        ("Reset 💳!!!", 0.5),
        ("Why was my 💳 declined?", 0.2),
        ("[UNK] spelt out", 0.25),
        ("?!", 0.0),
    ],
)
def test_the_share_of_unknown_words_leaves_special_tokens_and_punctuation_out(
    lenient: Encoder, text: str, share: float
) -> None:
    (tokens,) = lenient.tokenise([text])
    assert tokens.unknown_share == pytest.approx(share)


def test_the_limit_of_unknown_words_is_a_setting(minilm: Path, lenient: Encoder) -> None:
    assert [tokens.unknown_share for tokens in lenient.tokenise(UNKNOWN[:2])] == [1.0, 1.0]
    none = ModelSettings(name=str(minilm), device="cpu", max_unknown_share=0.0)
    with pytest.raises(BadRecord, match="20%"):
        load_encoder(none).tokenise(["Why was my 💳 declined?"])


def test_a_lone_surrogate_is_a_bad_record(encoder: Encoder) -> None:
    with pytest.raises(BadRecord) as refused:
        encoder.tokenise(["fine", "not \ud800 fine"])
    assert (refused.value.stage, refused.value.reason) == ("tokenise", "text_not_encodable")
    assert "fine" not in str(refused.value)


def test_published_weights_are_known_whatever_their_folder_is_called(encoder: Encoder) -> None:
    assert encoder.name == "sentence-transformers/all-MiniLM-L6-v2"
    assert len(encoder.revision) == 40
    assert encoder.preset_threshold is None


def test_the_licensed_models_preset_is_on_the_encoder(minilm: Path, tmp_path: Path) -> None:
    folder = symlinked(minilm, tmp_path / "all-mpnet-base-questions-clustering-en")
    encoder = load_encoder(ModelSettings(name=str(folder), device="cpu", accept_license=True))
    assert encoder.preset_threshold == 0.3514


@pytest.mark.parametrize("kept_bytes", [0, 7, 1000, 80_000_000])
def test_a_weights_file_cut_short_is_refused(minilm: Path, tmp_path: Path, kept_bytes: int) -> None:
    folder = symlinked(minilm, tmp_path / "broken", "model.safetensors")
    with (minilm / "model.safetensors").open("rb") as whole:
        (folder / "model.safetensors").write_bytes(whole.read(kept_bytes))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_encoder(ModelSettings(name=str(folder)))


def test_weights_that_lack_a_layer_are_refused_rather_than_made_up(minilm: Path, tmp_path: Path) -> None:
    folder = symlinked(minilm, tmp_path / "partial", "model.safetensors")
    weights = load_file(minilm / "model.safetensors")
    del weights["encoder.layer.3.attention.self.query.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 are missing, encoder\.layer\.3\.attention\.self\.query\.weight"):
        load_encoder(ModelSettings(name=str(folder), device="cpu"))


@pytest.mark.parametrize("missing", ["config.json", "1_Pooling", "tokenizer.json"])
def test_a_folder_that_lacks_a_file_is_refused(minilm: Path, tmp_path: Path, missing: str) -> None:
    folder = symlinked(minilm, tmp_path / "partial", missing, "vocab.txt")
    with pytest.raises(ModelError):
        load_encoder(ModelSettings(name=str(folder)))


@pytest.mark.parametrize("device", ["cuda:63", "xpu:9", "nonsense"])
def test_a_device_that_is_not_there_is_refused(minilm: Path, device: str) -> None:
    with pytest.raises(ModelError, match=f"model.device is {device}"):
        load_encoder(ModelSettings(name=str(minilm), device=device))


def test_a_pickle_beside_safetensors_is_not_opened(minilm: Path, tmp_path: Path) -> None:
    folder, mark = tmp_path / "model", tmp_path / "it-ran"
    shutil.copytree(minilm, folder)
    for name in ("pytorch_model.bin", "1_Pooling/pytorch_model.bin", "training_args.bin"):
        (folder / name).write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(ModelError, match="1_Pooling holds only pickled weights"):
        load_encoder(ModelSettings(name=str(folder)))
    (folder / "1_Pooling" / "pytorch_model.bin").unlink()
    assert load_encoder(ModelSettings(name=str(folder))).dimension == 384
    assert not mark.exists()
