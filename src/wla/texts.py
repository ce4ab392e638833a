"""Texts of others (environments, policies, error messages), made safe to store."""

from __future__ import annotations


def encodable(text: str) -> str:
    """Returns the text with lone surrogates, which UTF-8 cannot encode, as escapes (``\\udc80``) in plain characters.

    They come from file names and from bytes that another program decoded in its own way; no file of a dataset, a report
    or a run could hold them.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
