"""A long text is read no further than its tokens are kept, and its tokens are those of the whole text."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from questream.encoder.prefix import PrefixCutter
from questream.encoder.tokens import Tokeniser
from questream.errors import BadRecord

MAX_TOKENS = 12
CORPUS = [
    "how do i reset my password? why was my card declined twice, please!",
    "a  b   c    d \u0600 x\u200b y  \u200b z",
    "wie setze ich mein passwort zurück? สวัสดี ครับ 密码 怎么 重置 パスワード を 忘れました 🙂 e\u0301te\u0301 ﷺ ½",
]
# Pieces that a tokenizer may join, swallow, reorder or split where a text is cut between them.
PIECES = [
    *["a", "b", "z", "0", "9", ".", ",", "!", "?", "'", "-", "_", "[", "]", "<", ">", "=", "▁", "Ġ"],
    *[" ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u200b", "\u200d", "\u00ad", "\u0301", "\u0338", "\u0600"],
    *["e\u0301", "é", "ß", "İ", "ı", "Σ", "ﬁ", "½", "ͺ", "ﷺ", "\ud55c", "\u1112\u1161\u11ab", "が", "か\u3099"],
    *[
        "密",
        "码",
        "\U00020000",
        "ไ",
        "หน",
        "กำ",
        "क्ष",
        "🙂",
        "👩\u200d💻",
        "🇩🇪",
        "\ufffd",
        "\x00",
        "\ue000",
        "don't",
        "I'll",
    ],
    *["[MASK]", "<mask>", "[UNK]", "[unk]", "password", "reset", " card", "x" * 101, "0123456789", "2024-11-28"],
]
hostile = st.lists(st.tuples(st.sampled_from(PIECES), st.integers(1, 40)), min_size=1, max_size=30).map(
    lambda pieces: "".join(piece * count for piece, count in pieces)
)


def bert(*, strip_accents: bool | None, chinese: bool) -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(handle_chinese_chars=chinese, strip_accents=strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return trained(tokenizer, trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]", "[CLS]"]))


def byte_level(pattern: str | None = None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    if pattern is None:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
            [
                pre_tokenizers.Split(Regex(pattern), "isolated"),
                pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
            ]
        )
    return trained(tokenizer, trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))


def sentence_piece(*, split: bool = True) -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Nmt(), normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=split)
    return trained(tokenizer, trainers.UnigramTrainer(vocab_size=120, unk_token="[UNK]", special_tokens=["[UNK]"]))


def trained(tokenizer: Tokenizer, trainer: trainers.Trainer) -> Tokenizer:
    tokenizer.train_from_iterator(CORPUS * 20, trainer)
    tokenizer.add_special_tokens(["[MASK]", AddedToken("<mask>", lstrip=True, rstrip=True)])
    return tokenizer


QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "bert": lambda: bert(strip_accents=None, chinese=True),
    "bert, accents kept": lambda: bert(strip_accents=False, chinese=False),
    "gpt-2": byte_level,
    "qwen": lambda: byte_level(QWEN),
    "sentencepiece": sentence_piece,
}


@pytest.fixture(scope="module", params=TOKENIZERS)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return TOKENIZERS[request.param]()


@settings(max_examples=150)
@given(text=hostile)
def test_tokens_of_a_prefix_are_the_first_tokens_of_the_text(tokenizer: Tokenizer, text: str) -> None:
    tokenizer.no_truncation()
    whole = tokenizer.encode(text).ids
    described = tokenizer.to_str()
    for prefix in {prefix for tokens in range(1, 40) for prefix in PrefixCutter(described, tokens).prefixes(text)}:
        ids = tokenizer.encode(prefix).ids
        assert ids == whole[: len(ids)], (prefix, text)


@settings(max_examples=100)
@given(text=hostile)
def test_tokens_and_truncation_are_those_of_the_uncut_text(tokenizer: Tokenizer, text: str) -> None:
    tokenise = Tokeniser(Tokenizer.from_str(tokenizer.to_str()), MAX_TOKENS, "", 1.0)
    tokenizer.no_truncation()
    whole = tokenizer.encode(text).ids
    if not whole:
        with pytest.raises(BadRecord):
            tokenise([text])
        return
    (tokens,) = tokenise([text])
    assert tokens.ids.tolist() == whole[:MAX_TOKENS]
    assert tokens.truncated == (len(whole) > MAX_TOKENS)


@pytest.mark.parametrize("unit", ["a ", "reset my card, ", "密码 怎么", "how? "])
def test_of_a_long_text_little_is_read(tokenizer: Tokenizer, unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    first = next(PrefixCutter(tokenizer.to_str(), 384).prefixes(text))
    assert 1000 < len(first) <= 8 * 384


def test_a_tokenizer_that_reads_across_spaces_is_given_the_whole_text() -> None:
    across = sentence_piece(split=False)
    assert not PrefixCutter(across.to_str(), 1).may_cut("reset my password " * 100)


@pytest.mark.parametrize(
    "part",
    [
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "a b"}, "content": "c"}},
        {"pre_tokenizer": {"type": "Split", "pattern": {"Regex": r"\p{L}+ \p{L}+"}, "behavior": "Isolated"}},
        {"pre_tokenizer": {"type": "OfTheFuture"}},
        {"pre_tokenizer": None},
        {"added_tokens": [{"content": "reset my"}]},
    ],
)
def test_a_tokenizer_of_unknown_parts_is_given_the_whole_text(part: dict[str, object]) -> None:
    described = json.loads(byte_level().to_str()) | part
    assert not PrefixCutter(json.dumps(described), 1).may_cut("reset my password " * 100)


def test_half_a_surrogate_pair_behind_the_prefix_is_refused(tokenizer: Tokenizer) -> None:
    tokenise = Tokeniser(Tokenizer.from_str(tokenizer.to_str()), MAX_TOKENS, "", 1.0)
    with pytest.raises(BadRecord) as refused:
        tokenise(["reset my card, " * 1000 + "\ud800"])
    assert refused.value.reason == "text_not_encodable"
