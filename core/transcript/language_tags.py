"""Languages as people and programs name them: codes, English names, language tags.

What is not Whisper's own code is mapped to it, from the tables here: a BCP 47 tag (RFC 5646) loses all but its language,
and ISO 639-2 and 639-3 codes, withdrawn codes and members of a macrolanguage become the code that Whisper knows.
"""

from __future__ import annotations

import re
from types import MappingProxyType

from core.transcript.languages import LANGUAGES

ALIASES = MappingProxyType(
    {
        "burmese": "my",
        "valencian": "ca",
        "flemish": "nl",
        "haitian": "ht",
        "letzeburgesch": "lb",
        "pushto": "ps",
        "panjabi": "pa",
        "moldavian": "ro",
        "moldovan": "ro",
        "sinhalese": "si",
        "castilian": "es",
        "mandarin": "zh",
    }
)
"""From openai-whisper's `tokenizer.py` (TO_LANGUAGE_CODE)."""

SUBTAGS = MappingProxyType(
    {
        subtag: code
        for code, subtags in {
            "af": "afr",
            "am": "amh",
            "ar": "ara arb arz apc acm afb ary aeb ajp apd ars",
            "as": "asm",
            "az": "aze azj azb",
            "ba": "bak",
            "be": "bel",
            "bg": "bul",
            "bn": "ben",
            "bo": "bod tib",
            "br": "bre",
            "bs": "bos",
            "ca": "cat",
            "cs": "ces cze",
            "cy": "cym wel",
            "da": "dan",
            "de": "deu ger",
            "el": "ell gre",
            "en": "eng",
            "es": "spa",
            "et": "est ekk",
            "eu": "eus baq",
            "fa": "fas per pes prs",
            "fi": "fin",
            "fo": "fao",
            "fr": "fra fre",
            "gl": "glg",
            "gu": "guj",
            "ha": "hau",
            "he": "heb iw",
            "hi": "hin",
            "hr": "hrv",
            "ht": "hat",
            "hu": "hun",
            "hy": "hye arm",
            "id": "ind in",
            "is": "isl ice",
            "it": "ita",
            "ja": "jpn",
            "jw": "jav jv",
            "ka": "kat geo",
            "kk": "kaz",
            "km": "khm",
            "kn": "kan",
            "ko": "kor",
            "la": "lat",
            "lb": "ltz i-lux",
            "ln": "lin",
            "lo": "lao",
            "lt": "lit",
            "lv": "lav lvs",
            "mg": "mlg plt",
            "mi": "mri mao",
            "mk": "mkd mac",
            "ml": "mal",
            "mn": "mon khk",
            "mr": "mar",
            "ms": "msa may zsm",
            "mt": "mlt",
            "my": "mya bur",
            "ne": "nep npi",
            "nl": "nld dut",
            "nn": "nno no-nyn",
            "no": "nor nb nob no-bok",
            "oc": "oci",
            "pa": "pan",
            "pl": "pol",
            "ps": "pus pbt pbu pst",
            "pt": "por",
            "ro": "ron rum mo mol",
            "ru": "rus",
            "sa": "san",
            "sd": "snd",
            "si": "sin",
            "sk": "slk slo",
            "sl": "slv",
            "sn": "sna",
            "so": "som",
            "sq": "sqi alb als aln",
            "sr": "srp sh hbs",
            "su": "sun",
            "sv": "swe",
            "sw": "swa swh",
            "ta": "tam",
            "te": "tel",
            "tg": "tgk",
            "th": "tha",
            "tk": "tuk",
            "tl": "tgl fil",
            "tr": "tur",
            "tt": "tat",
            "uk": "ukr",
            "ur": "urd",
            "uz": "uzb uzn uzs",
            "vi": "vie",
            "yi": "yid ji ydd",
            "yo": "yor",
            "zh": "zho chi cmn zh-guoyu",
        }.items()
        for subtag in subtags.split()
    }
)
"""From the ISO 639-2 and 639-3 code tables, its macrolanguages, and the IANA Language Subtag Registry; `fil` and `sh` by
the aliases of Unicode CLDR. `jv` is the ISO code of what Whisper calls `jw`."""

_NAMES = MappingProxyType({name: code for code, name in LANGUAGES.items()} | dict(ALIASES))
_TAG = re.compile(r"(?P<language>[a-z]{2,3})(-(?P<extended>[a-z]{3}))?(-[a-z0-9]{1,8})*")
_TAG_LENGTH = 35
"""RFC 5646 §4.4.1: what a program has to have room for."""


def language_code(spoken: str) -> str | None:
    """Whisper's code of a language, given in any case as code (`de`, `deu`), tag (`de-CH`, `de_CH`) or English name
    (`German`); None if it knows none."""
    key = spoken.strip().lower()
    return _NAMES.get(key) or _of_tag(key.replace("_", "-"))


def is_mapped(spoken: str) -> bool:
    """Whether `language_code` is another one than what was said, or knows less than it (`en-US` is `en`)."""
    key = spoken.strip().lower()
    return key not in LANGUAGES and key not in _NAMES


def _of_tag(tag: str) -> str | None:
    if tag in SUBTAGS:
        return SUBTAGS[tag]
    if len(tag) > _TAG_LENGTH or not (found := _TAG.fullmatch(tag)):
        return None
    language = found["extended"] or found["language"]  # `zh-yue` is Cantonese: the second names it by itself
    return language if language in LANGUAGES else SUBTAGS.get(language)
