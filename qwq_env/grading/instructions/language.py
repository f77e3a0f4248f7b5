"""In which language a text is written, the same answer at every call.

langdetect draws random n-grams; its generator is seeded with 0 for each text here, in a factory
of our own, so that nobody else's use of the package is changed. The package is optional (extra
`grading`): without it `detect_language` says that it cannot tell, which is never "wrong".
"""

import functools
from typing import Any

__all__ = ["NO_LANGUAGE", "detect_language"]

NO_LANGUAGE = ""
"""What is found in a text without letters that belong to any language."""

_SEED = 0


def detect_language(text: str) -> str | None:
    """The ISO 639-1 code of the language of `text`.

    `NO_LANGUAGE` when there is nothing to go by, `"unknown"` when no language is likely enough,
    None when langdetect is not installed. The first 10,000 characters decide. The first call loads
    the profiles of 55 languages (about half a second).
    """
    factory = _factory()
    if factory is None:
        return None
    from langdetect.lang_detect_exception import LangDetectException  # noqa: PLC0415 (optional)

    detector = factory.create()
    detector.append(text)
    try:
        return str(detector.detect())
    except LangDetectException:
        return NO_LANGUAGE


@functools.cache
def _factory() -> Any:
    try:
        from langdetect.detector_factory import (  # noqa: PLC0415 (optional)
            PROFILES_DIRECTORY,
            DetectorFactory,
        )
    except ImportError:
        return None
    factory = DetectorFactory()
    factory.seed = _SEED
    factory.load_profile(PROFILES_DIRECTORY)
    return factory
