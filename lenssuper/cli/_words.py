"""Messages of the package in the words of the command line: options in place of arguments of Python."""

from __future__ import annotations

import argparse
import re
import string

from lenssuper._utils.text import said_by

__all__ = ["in_one_line", "in_shell_words"]

_ARGUMENT = re.compile(r"\b([a-z][a-z_]*)=(True\b|None\b)?(?=([\w'\"({\[+.-])?)")
# A name with an underscore is no English word; in a path or as a function it is something else.
_NAME = re.compile(r"(?<![\w/.'\"=-])([a-z]+(?:_[a-z]+)+)(?![\w/'\"=(-]|\.\w)")
_OPENING, _CLOSING = "([{", ")]}"
_LETTERS = f"{string.ascii_letters}{string.digits}_."


def in_one_line(error: Exception, options: argparse.Namespace) -> str:
    """Give what an error says to a user, in one line."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return said_by(error)
    text = in_shell_words(getattr(error, "shell", error), options)
    from lenssuper.exceptions import LensSuperError

    if isinstance(error, (LensSuperError, OSError, ValueError, TypeError)):
        return text
    return f"{type(error).__name__}: {text} (--debug shows where)"


def in_shell_words(message: object, options: argparse.Namespace) -> str:
    """
    Give a message in one line, with the options of the command line in place of arguments of Python.

    What is in the brackets of an object, as ``PixelGrid(shape=...)``, stays as it is.
    """
    text = " ".join(str(message).split())
    return "".join(part if bracketed else _translated(part, options) for part, bracketed in _parts(text))


def _translated(text, options):
    def option(name):
        for known in (name, name.removeprefix("n_")):
            if hasattr(options, known):
                return f"--{known.replace('_', '-')}"
        return None

    def argument(match):
        name, word, following = match.groups()
        if (found := option(name)) is None:
            return match[0]
        if word == "None":
            return f"no {found}"
        value = following is not None and not (word or following == ".")
        return f"{found} " if value else found

    if hasattr(options, "psf"):
        text = text.replace("nddata.psf = array", "--psf")
    text = _ARGUMENT.sub(argument, text)
    return _NAME.sub(lambda match: option(match[1]) or match[0], text)


def _parts(text):
    """Cut a text into parts outside and inside of the brackets of objects, lists and dictionaries."""
    parts, start, depth = [], 0, 0
    for k, letter in enumerate(text):
        if depth == 0 and _opens(text, k):
            named = len(text[start:k].rstrip(_LETTERS)) if letter == "(" else k - start
            parts.append((text[start : start + named], False))
            start, depth = start + named, 1
        elif depth and letter in _OPENING:
            depth += 1
        elif depth and letter in _CLOSING:
            depth -= 1
            if depth == 0:
                parts.append((text[start : k + 1], True))
                start = k + 1
    return [*parts, (text[start:], depth > 0)]


def _opens(text, k):
    """Whether a bracket begins there that is not one of a sentence."""
    return text[k] in "[{" or (text[k] == "(" and k > 0 and (text[k - 1].isalnum() or text[k - 1] == "_"))
