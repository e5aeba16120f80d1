"""A function of the user's own that a text goes through before it is embedded."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from questream.errors import BadRecord, SettingsError


def load_hook(name: str) -> Callable[[str], str]:
    """The function `module:function`, which must take a text and give one.

    Raises SettingsError if there is none. The function that is returned raises BadRecord (stage `prepare`) where the
    user's fails; neither says what with: its message may have the text in it.
    """
    module, _, function = name.partition(":")
    failed = None
    try:
        hook = getattr(import_module(module), function)
    except Exception as error:
        failed = type(error).__name__
    if failed is not None:
        raise SettingsError(
            f"input.prepare_hook is {name!r}, which could not be imported ({failed})",
            "give module:function, in a module on PYTHONPATH",
        )
    if not callable(hook):
        raise SettingsError(f"input.prepare_hook is {name!r}, which is no function")

    def checked(text: str) -> str:
        failure = None
        try:
            prepared = hook(text)
        except Exception as error:
            failure = type(error).__name__
        else:
            if isinstance(prepared, str):
                return prepared
            failure = f"it gave a {type(prepared).__name__}"
        raise BadRecord("prepare", "hook_failed", f"input.prepare_hook failed: {failure}")

    return checked
