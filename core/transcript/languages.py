"""The languages Whisper knows: ISO 639-1 codes (639-3 for haw and yue) and English names; which go without blanks; and pairs
of them, as translators tell them.

As in openai-whisper's `tokenizer.py` (LANGUAGES), in the order of whisper.cpp's language ids. Imports the standard
library only: engine workers read it too.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

LANGUAGES = MappingProxyType(
    {
        "en": "english",
        "zh": "chinese",
        "de": "german",
        "es": "spanish",
        "ru": "russian",
        "ko": "korean",
        "fr": "french",
        "ja": "japanese",
        "pt": "portuguese",
        "tr": "turkish",
        "pl": "polish",
        "ca": "catalan",
        "nl": "dutch",
        "ar": "arabic",
        "sv": "swedish",
        "it": "italian",
        "id": "indonesian",
        "hi": "hindi",
        "fi": "finnish",
        "vi": "vietnamese",
        "he": "hebrew",
        "uk": "ukrainian",
        "el": "greek",
        "ms": "malay",
        "cs": "czech",
        "ro": "romanian",
        "da": "danish",
        "hu": "hungarian",
        "ta": "tamil",
        "no": "norwegian",
        "th": "thai",
        "ur": "urdu",
        "hr": "croatian",
        "bg": "bulgarian",
        "lt": "lithuanian",
        "la": "latin",
        "mi": "maori",
        "ml": "malayalam",
        "cy": "welsh",
        "sk": "slovak",
        "te": "telugu",
        "fa": "persian",
        "lv": "latvian",
        "bn": "bengali",
        "sr": "serbian",
        "az": "azerbaijani",
        "sl": "slovenian",
        "kn": "kannada",
        "et": "estonian",
        "mk": "macedonian",
        "br": "breton",
        "eu": "basque",
        "is": "icelandic",
        "hy": "armenian",
        "ne": "nepali",
        "mn": "mongolian",
        "bs": "bosnian",
        "kk": "kazakh",
        "sq": "albanian",
        "sw": "swahili",
        "gl": "galician",
        "mr": "marathi",
        "pa": "punjabi",
        "si": "sinhala",
        "km": "khmer",
        "sn": "shona",
        "yo": "yoruba",
        "so": "somali",
        "af": "afrikaans",
        "oc": "occitan",
        "ka": "georgian",
        "be": "belarusian",
        "tg": "tajik",
        "sd": "sindhi",
        "gu": "gujarati",
        "am": "amharic",
        "yi": "yiddish",
        "lo": "lao",
        "uz": "uzbek",
        "fo": "faroese",
        "ht": "haitian creole",
        "ps": "pashto",
        "tk": "turkmen",
        "nn": "nynorsk",
        "mt": "maltese",
        "sa": "sanskrit",
        "lb": "luxembourgish",
        "my": "myanmar",
        "bo": "tibetan",
        "tl": "tagalog",
        "mg": "malagasy",
        "as": "assamese",
        "tt": "tatar",
        "haw": "hawaiian",
        "ln": "lingala",
        "ha": "hausa",
        "ba": "bashkir",
        "jw": "javanese",
        "su": "sundanese",
        "yue": "cantonese",
    }
)
"""Code -> English name, lower case."""

UNSPACED = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Written without blanks between words (openai-whisper's `tokenizer.py`, split_to_word_tokens)."""

_UNSPACED_BLOCKS = (
    "[\u0e00-\u0eff\u1000-\u109f\ua9e0-\ua9ff\uaa60-\uaa7f"  # Thai, Lao, Myanmar
    "\u2e80-\u312f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\ufe30-\ufe4f\uff00-\uffef\U00020000-\U0003ffff]"
)
"""Their letters and punctuation, by Unicode's blocks: the second line is Chinese and Japanese."""

_UNSPACED_SCRIPT = re.compile(_UNSPACED_BLOCKS)
_UNIT = re.compile(rf"(?={_UNSPACED_BLOCKS})\w|(?:(?!{_UNSPACED_BLOCKS})\w)+")
_PIECE = re.compile(rf"{_UNSPACED_BLOCKS}\W*|(?:(?!{_UNSPACED_BLOCKS})\S)+\s*")


def joined(texts: Iterable[str], language: str) -> str:
    """Texts that follow each other as one. language: code; blanks are as it has them.

    What is written in it may be in another: a translation, or Latin words in Chinese. So the letters where two texts
    meet have a say too: between two that go without blanks there is none, between two that go with them there is one.
    """
    found = ""
    for text in filter(None, (text.strip() for text in texts)):
        sides = [bool(_UNSPACED_SCRIPT.match(letter)) for letter in (found[-1:], text[0])]
        bare = any(sides) if language in UNSPACED else all(sides)
        found += text if bare or not found else f" {text}"
    return found


def goes_without_blanks(letter: str) -> bool:
    """Whether it is of a script, or punctuation of one, that has no blanks between words."""
    return _UNSPACED_SCRIPT.match(letter) is not None


def letters(text: str) -> list[str]:
    """What a text without blanks is made of: its letters one by one, Latin words and numbers within it whole, no punctuation.

    Nothing of a text that has no letter that goes without blanks.
    """
    return _UNIT.findall(text) if _UNSPACED_SCRIPT.search(text) else []


def pieces(text: str) -> list[str]:
    """A text cut where words may begin: behind blanks, and before each letter that goes without; joined they are the text again."""
    return _PIECE.findall(text.lstrip())


@dataclass(frozen=True, kw_only=True)
class LanguagePairs:
    """Each of `sources` with each of `targets`, but for the same with itself. Codes, sorted. sources: None = whatever is spoken"""

    sources: tuple[str, ...] | None
    targets: tuple[str, ...]


def grouped(pairs: Mapping[str, Collection[str]]) -> list[LanguagePairs]:
    """pairs: by source its targets; the source itself may be among them"""
    alike: defaultdict[frozenset[str], list[str]] = defaultdict(list)
    for source, targets in pairs.items():
        if others := frozenset(targets) - {source}:
            alike[others | {source}].append(source)
    found: list[LanguagePairs] = []
    for together, sources in alike.items():
        # one alone is not among its own targets; of several each is among those of the others
        targets = together - {sources[0]} if len(sources) == 1 else together
        found.append(LanguagePairs(sources=tuple(sorted(sources)), targets=tuple(sorted(targets))))
    return sorted(found, key=lambda one: one.sources or ())


def by_source(pairs: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    """(source, target), each once or more."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for source, target in pairs:
        found[source].add(target)
    return dict(found)
