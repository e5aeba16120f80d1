"""A text as its model should read it."""

from __future__ import annotations

import re
from collections.abc import Callable, Set
from typing import TYPE_CHECKING, NamedTuple

from questream.preparing.about import about_first
from questream.preparing.hook import load_hook
from questream.preparing.mail import said_in
from questream.preparing.repeated import SeenMails

if TYPE_CHECKING:
    from questream.settings import InputSettings

# The preparation of mails has a version: another may give another text, and vectors of the two are not alike.
_MAIL = "mail-6"
_RELEASE = re.compile(r"(?<=^mail-)\d+")


def without_frame(text: str) -> str:
    """The question in a mail or a ticket, HTML or plain; any other text as it is, to the byte.

    What is taken away: markup, quoted replies, headers but the subject, greetings, closings, signatures and legal
    notices, in the languages of `phrases/`. A text that is all frame stays, without its markup. Of what is left, the
    sentences that say what it is about come first.
    """
    said = said_in(text)
    return text if said == text else about_first(said)


def version_of(settings: InputSettings) -> str:
    """The version of the preparation that the settings ask for, as decisions carry it; '' for none."""
    return "+".join(filter(None, (_MAIL if settings.prepare == "auto" else None, settings.prepare_hook)))


def is_of_one_kind(one: str, other: str) -> bool:
    """True if two versions differ by the release of the preparation of mails alone, not by the settings."""
    return _RELEASE.sub("", one) == _RELEASE.sub("", other)


def version_of_function(prepare: Callable[[str], str]) -> str:
    """As `version_of`, for a function that a notebook prepares its texts by; `str` changes none."""
    if prepare is str:
        return ""
    if prepare is without_frame:
        return _MAIL
    kind = type(prepare)
    module = getattr(prepare, "__module__", kind.__module__)
    return f"{module}:{getattr(prepare, '__qualname__', kind.__qualname__)}"


class KnownSentences(NamedTuple):
    """Digests of the sentences that stand in many mails of a namespace, and where those of a new mail are counted."""

    repeated: Set[str] = frozenset()
    seen: SeenMails | None = None


NO_SENTENCES = KnownSentences()


def no_sentences(_namespace: str) -> KnownSentences:
    """Of any namespace none are known, and none are counted."""
    return NO_SENTENCES


class Preparation:
    """The preparation that the settings ask for: `input.prepare`, then `input.prepare_hook`.

    `sentences_of` has what is known of the mails of a namespace. Raises SettingsError if the hook cannot be loaded.
    """

    def __init__(self, settings: InputSettings, sentences_of: Callable[[str], KnownSentences] = no_sentences) -> None:
        self._mail = settings.prepare == "auto"
        self._hook = None if settings.prepare_hook is None else load_hook(settings.prepare_hook)
        self._sentences_of = sentences_of
        self.version = version_of(settings)

    def __call__(self, text: str, namespace: str = "") -> str:
        """The text to embed and to show.

        Raises BadRecord (stage `prepare`, reason `hook_failed`) where the hook fails.
        """
        said = said_in(text) if self._mail else text
        if said != text:
            text = about_first(said, *self._sentences_of(namespace))
        return text if self._hook is None else self._hook(text)
