"""What every translator promises, and what each makes of answers that are late, wrong or none."""

from __future__ import annotations

import itertools
import json
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.errors import Cancelled, ModelInvalid, TranslationFailed
from core.transcript.languages import LANGUAGES, LanguagePairs, grouped
from testbed import audio_bank
from tests.whisper.translation_servers import Server, chat, good, serving
from whisper.engine.host_client import HostClient
from whisper.engine.manager_process import start_manager
from whisper.kinds.translate import sentences
from whisper.models.translation import TranslationModel, translation_models
from whisper.translation.chat import BATCH, ChatTranslator
from whisper.translation.libretranslate import LibreTranslate
from whisper.translation.resident import ResidentTranslator
from whisper.translation.router import SPOKEN, Translators
from whisper.translation.scripted import ScriptedTranslator, scripted
from whisper.translation.translator import Translator

FOLDER = Path(__file__).parents[1] / "data" / "translation"
GERMAN = [(one["text"], one["text_en"]) for one in audio_bank._bank()[1] if one["lang"] == "de"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def _as_new(request: pytest.FixtureRequest) -> None:
    if "server" in request.fixturenames:
        server: Server = request.getfixturevalue("server")
        server.asked.clear()
        server.act = lambda path, body: None


@pytest.fixture(scope="module")
def hosts() -> Iterator[HostClient]:
    with tempfile.TemporaryDirectory(prefix="ps") as folder:
        manager = start_manager(Path(folder) / "m.sock", workers=2)
        client = HostClient(Path(folder) / "m.sock")
        yield client
        client.close()
        manager.terminate()
        manager.wait(10)


def libre(server: Server, **more: Any) -> LibreTranslate:
    return LibreTranslate(server.url, "secret", **{"seconds": 5.0, "pauses": (0.0, 0.0)} | more)


def model(server: Server, **more: Any) -> ChatTranslator:
    return ChatTranslator(server.url, "small", "secret", **{"seconds": 5.0, "pauses": (0.0, 0.0)} | more)


@pytest.fixture(params=["scripted", "ctranslate2", "libretranslate", "openai"])
def translator(request: pytest.FixtureRequest) -> Translator:
    match request.param:
        case "ctranslate2":
            return ResidentTranslator(request.getfixturevalue("hosts"), [TranslationModel.read(FOLDER / "de-en")])
        case "libretranslate":
            return libre(request.getfixturevalue("server"))
        case "openai":
            return model(request.getfixturevalue("server"))
    return ScriptedTranslator()


# --- what every translator promises
def test_each_text_has_its_translation_in_order(translator: Translator) -> None:
    said = [german for german, _ in GERMAN[:3]]
    assert translator.can("de", "en") and translator.can(None, "en")
    found = translator.translate([said[0], " ", said[1], said[0], "…", said[2]], source="de", target="en", before=said)
    if translator.name == "ctranslate2":
        assert found == [GERMAN[0][1], " ", GERMAN[1][1], GERMAN[0][1], "…", GERMAN[2][1]]
    else:
        assert found == [
            one if one in " …" else scripted(one, "en") for one in [said[0], " ", said[1], said[0], "…", said[2]]
        ]
    assert translator.translate([], source="de", target="en") == []


def test_what_it_tells_of_itself_is_what_it_can(translator: Translator) -> None:
    assert translator.can("de", "en")  # who has to ask for it knows it now
    told = translator.pairs()
    assert told is not None and len(told) == 1
    for source, target in itertools.product((None, *LANGUAGES), LANGUAGES):
        if source == target:
            continue
        offered = any(
            target in one.targets and (source is None or one.sources is None or source in one.sources) for one in told
        )
        assert offered == translator.can(source, target), (source, target)


def test_a_call_that_is_cancelled_does_nothing(translator: Translator) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        translator.translate(["Eins."], source="de", target="en", cancel=stop)


def test_many_threads_ask_at_once(translator: Translator) -> None:
    found: dict[int, list[str]] = {}

    def ask(n: int) -> None:
        found[n] = translator.translate([GERMAN[n][0]], source="de", target="en")

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({*map(tuple, found.values())}) == len({german for german, _ in GERMAN[:8]}) and len(found) == 8


# --- CTranslate2
def test_the_sentences_of_the_demo_come_out_to_the_letter(hosts: HostClient) -> None:
    resident = ResidentTranslator(hosts, [TranslationModel.read(FOLDER / "de-en")])
    resident.load(None, "en")
    (there,) = [host for host in hosts.status()["hosts"] if host["kind"] == "translate"]
    assert there["state"] != "down" and there["references"] == 1, "in memory before anything is asked of it"
    texts = [german for german, _ in GERMAN]
    assert resident.translate(texts, source="de", target="en") == [english for _, english in GERMAN]
    together = " ".join(texts[:5])
    assert resident.translate([together], source="de", target="en") == [" ".join(e for _, e in GERMAN[:5])]
    assert not resident.can("en", "de") and not resident.can("fr", "en") and not resident.can(None, "de")


def test_a_model_that_cannot_be_loaded_is_a_failed_translation(hosts: HostClient, tmp_path: Path) -> None:
    for name in ("model.bin", "source.spm", "target.spm"):
        (tmp_path / "de-en").mkdir(exist_ok=True)
        (tmp_path / "de-en" / name).write_bytes(b"no model")
    broken = ResidentTranslator(hosts, [TranslationModel.read(tmp_path / "de-en")])
    with pytest.raises(TranslationFailed, match="cannot be loaded") as failed:
        broken.translate(["Eins."], source="de", target="en")
    assert failed.value.details["away"]


def test_folders_say_what_they_are(tmp_path: Path) -> None:
    def made(name: str, about: object = None, *files: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file in files or ("model.bin", "source.spm", "target.spm"):
            (folder / file).touch()
        if about is not None:
            (folder / "metadata.json").write_text(about if isinstance(about, str) else json.dumps(about))
        return folder

    (made("opus-mt-fr-de") / "LICENSE").write_text("Creative Commons Attribution 4.0\nmore of it")
    made("mine", {"source": "German", "target": "en-GB", "license": "MIT", "target_prefix": ["__en__"]})
    made("shared-en-de", {"source_suffix": []}, "model.bin", "sentencepiece.model")
    made("what")
    made("es-en", None, "model.bin")
    made("it-en", "{")
    made("nl-en", {"source_prefix": "x"})
    made("pl-en", {"beam_size": 0})
    found = list(translation_models(tmp_path))
    mine, opus, shared = (one for one in found if isinstance(one, TranslationModel))
    assert (mine.source, mine.target, mine.licence, mine.begin, mine.behind) == (
        "de",
        "en",
        "MIT",
        ("__en__",),
        ("</s>",),
    )
    assert (opus.source, opus.target, opus.licence) == ("fr", "de", "Creative Commons Attribution 4.0")
    assert shared.files[1] == shared.files[2] and shared.behind == ()
    wrong = [one.message for one in found if isinstance(one, ModelInvalid)]
    assert len(wrong) == 5 and [message for message in wrong if "no source.spm" in message]
    assert [type(one) for one in translation_models(tmp_path / "none")] == [ModelInvalid]
    assert not list(translation_models(None))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Eins. Zwei! Drei", ["Eins.", "Zwei!", "Drei"]),
        ("Dr. Maier kommt am 3. Mai. Gut.", ["Dr. Maier kommt am 3. Mai.", "Gut."]),
        ("你好。再见！", ["你好。", "再见！"]),
        ("", []),
        ("Er sagt: „Nein.“ Ja.", ["Er sagt: „Nein.“", "Ja."]),
    ],
)
def test_sentences(text: str, parts: list[str]) -> None:
    assert sentences(text) == parts


# --- services
def test_libretranslate_is_asked_as_it_wants_to_be(server: Server) -> None:
    translator = libre(server)
    assert translator.can("zh", "de") and translator.can("de", "zh")
    assert not translator.can("fr", "en") and not translator.can("de", "fr") and not translator.can(None, "fr")
    assert [path for path, *_ in server.asked] == ["/languages"], "asked once"
    translator.translate([f"Text {n}." for n in range(60)], source="zh", target="en")
    first, second = (body for path, _, body in server.asked if path == "/translate")
    assert (first["source"], first["target"], first["api_key"], first["format"]) == ("zh-Hans", "en", "secret", "text")
    assert (len(first["q"]), len(second["q"])) == (50, 10)


def test_what_libretranslate_can_is_told_at_once_and_looked_up_beside_it(server: Server) -> None:
    asked, go = threading.Event(), threading.Event()
    server.act = lambda path, body: asked.set() or go.wait(10) and None
    translator = libre(server)
    assert translator.pairs() is None and asked.wait(10)
    assert translator.pairs() is None, "not asked a second time"
    go.set()
    assert translator.can("zh", "de"), "waits for the answer"
    assert translator.pairs() == [LanguagePairs(sources=("de", "en", "zh"), targets=("de", "en", "zh"))]
    assert [path for path, *_ in server.asked] == ["/languages"]


def test_pairs_are_told_in_few_words() -> None:
    one = {"de": ["en"], "fr": ["en", "fr"], "en": ["de", "fr"], "it": ["it"]}
    assert grouped(one) == [
        LanguagePairs(sources=("de",), targets=("en",)),
        LanguagePairs(sources=("en",), targets=("de", "fr")),
        LanguagePairs(sources=("fr",), targets=("en",)),
    ]


def test_a_libretranslate_that_takes_no_arrays_is_asked_for_each_text(server: Server) -> None:
    server.act = lambda path, body: (
        good({"translatedText": "?"}) if path == "/translate" and isinstance(body["q"], list) else None
    )
    assert libre(server).translate(["a", "b"], source="de", target="en") == ["[en] A", "[en] B"]


def test_a_libretranslate_that_is_away_counts_as_able() -> None:
    with serving() as gone:
        translator = libre(gone)
    assert translator.can("fr", "nl")
    with pytest.raises(TranslationFailed, match="cannot be reached"):
        translator.translate(["Eins."], source="de", target="en")


def test_a_language_model_is_told_what_was_said_before(server: Server) -> None:
    texts = [f"Satz {n}." for n in range(BATCH + 2)]
    assert model(server).translate(texts, source="de", target="en", before=["Vorher."]) == [
        scripted(t, "en") for t in texts
    ]
    (_, headers, first), (_, _, second) = server.asked
    assert headers["authorization"] == "Bearer secret" and first["temperature"] == 0 and first["model"] == "small"
    assert json.loads(first["messages"][1]["content"])["before"] == ["Vorher."]
    assert json.loads(second["messages"][1]["content"])["before"] == texts[BATCH - 3 : BATCH]
    assert len(json.loads(second["messages"][1]["content"])["segments"]) == 2


@pytest.mark.parametrize(
    "first",
    [
        [{"id": "2", "text": "[en] B"}],
        [{"id": "2", "text": "[en] B"}, {"id": "9", "text": "x"}, {"id": 1}, "?", {"id": "1", "text": " "}],
        '```json\n{"translations": [{"id": 2, "text": "[en] B"}]}\n```',
        '{"2": "[en] B"}',
        "I am sorry, but I cannot do that.",
        "",
        '{"translations": 7}',
    ],
)
def test_what_a_language_model_leaves_out_is_asked_for_again(server: Server, first: Any) -> None:
    answers = [chat(first)]
    server.act = lambda path, body: answers.pop() if answers else None
    assert model(server).translate(["a", "b"], source="de", target="en") == ["[en] A", "[en] B"]
    assert len(server.asked) == 2


def test_a_language_model_that_never_gives_all_fails(server: Server) -> None:
    server.act = lambda path, body: chat([{"id": "1", "text": "[en] A"}])
    with pytest.raises(TranslationFailed, match="left out 1 of 2") as failed:
        model(server).translate(["a", "b"], source="de", target="en")
    assert len(server.asked) == 3 and not failed.value.details.get("away")


def test_a_service_without_json_mode_is_asked_without(server: Server) -> None:
    server.act = lambda path, body: (
        good({"error": {"message": "unknown response_format"}}, 400) if "response_format" in body else None
    )
    translator = model(server)
    assert translator.translate(["a"], source="de", target="en") == ["[en] A"]
    assert translator.translate(["b"], source="de", target="en") == ["[en] B"]
    assert len(server.asked) == 3, "the second time at once"


@pytest.mark.parametrize(
    "answer", [good({}, 429, **{"retry-after": "0"}), good({}, 500), good({}, 503), (200, {}, b"<html>")]
)
def test_what_may_help_is_tried_again(server: Server, answer: tuple[int, dict[str, str], bytes]) -> None:
    for made in (libre, model):
        wrong = [answer, answer]
        server.act = lambda path, body, wrong=wrong: wrong.pop() if wrong and path != "/languages" else None
        assert made(server).translate(["a"], source="de", target="en") == ["[en] A"]
    server.act = lambda path, body: answer
    with pytest.raises(TranslationFailed):
        model(server).translate(["a"], source="de", target="en")


@pytest.mark.parametrize(
    ("answer", "message", "away"),
    [
        (good({"error": "Invalid API key"}, 403), "answered 403: Invalid API key", True),
        (good({"error": {"message": "too long"}}, 413), "answered 413: too long", None),
        ((302, {"location": "http://127.0.0.1:1/"}, b""), "answered 302", True),
        ((200, {}, b"[" + b"1," * (5 << 20) + b"1]"), "more than 8,388,608 bytes", None),
    ],
)
def test_what_does_not_help_is_not(server: Server, answer: Any, message: str, away: bool | None) -> None:
    server.act = lambda path, body: answer if path != "/languages" else None
    with pytest.raises(TranslationFailed, match=message) as failed:
        libre(server).translate(["a"], source="de", target="en")
    assert failed.value.details.get("away") is away
    assert len([path for path, *_ in server.asked if path == "/translate"]) == 1


@pytest.mark.parametrize(
    "answer", [{"translatedText": ["x", "y"]}, {"translatedText": [""]}, {"translatedText": ["x" * 900]}, [], {}]
)
def test_answers_that_are_none_are_failures(server: Server, answer: Any) -> None:
    server.act = lambda path, body: good(answer) if path != "/languages" else None
    with pytest.raises(TranslationFailed):
        libre(server).translate(["a"], source="de", target="en")


def test_a_slow_service_holds_nobody_up_for_longer_than_it_may(server: Server) -> None:
    go = threading.Event()
    server.act = lambda path, body: go.wait(20) and None
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        model(server).translate(["a"], source="de", target="en", cancel=stop)
    assert time.monotonic() - began < 1.3, "a cancel is heard within a second"
    with pytest.raises(TranslationFailed, match=r"did not answer within 0\.2 s"):
        model(server, seconds=0.2, pauses=()).translate(["a"], source="de", target="en")
    go.set()


# --- who does what
def test_the_first_that_can_translates() -> None:
    first, second = ScriptedTranslator({("de", "fr"), ("es", "en")}), ScriptedTranslator({("de", "en"), ("de", "fr")})
    both = Translators([first, second, SPOKEN])
    assert both.choose("de", "fr", spoken=True) is first and both.choose("de", "en", spoken=True) is second
    assert both.choose("it", "en", spoken=True) == SPOKEN and both.choose("it", "en", spoken=False) is None
    assert both.choose("en", "en", spoken=True) is None and both.choose("it", "de", spoken=True) is None
    assert both.can(None, "en") and not both.can("it", "en") and both.can("it", "en", spoken=True)
    assert both.names == ["scripted", "scripted", "whisper"]
    assert [(name, pairs and pairs[-1]) for name, pairs in both.offers()] == [
        ("scripted", LanguagePairs(sources=("es",), targets=("en",))),
        ("scripted", LanguagePairs(sources=("de",), targets=("en", "fr"))),
        ("whisper", LanguagePairs(sources=None, targets=("en",))),
    ]
    assert both.translate(["a"], source="de", target="en") == ["[en] A"] and second.asked and not first.asked
    with pytest.raises(TranslationFailed, match="Nothing here translates from it to en"):
        both.translate(["a"], source="it", target="en")
