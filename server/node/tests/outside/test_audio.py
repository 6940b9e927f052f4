"""Speech through the official SDK. Most tests have a model of random weights, so that what it hears means
nothing: they ask for every form of answer, the same each time, and for refusals. The last ones have
OpenAI's smallest Whisper and a sentence (`espeak-ng -s 140 -v en-us`)."""

from __future__ import annotations

import pytest
from openai import BadRequestError, NotFoundError

from support import whisper
from support.node import ROOT, running

SENTENCE = ROOT / "server" / "node" / "tests" / "outside" / "support" / "moon.flac"
WORDS = "The moon is round and the sky is blue."
MODEL = "tiny-whisper"
FOLDER = ROOT / "backends" / "candle" / "tests" / "whisper"
SOUNDS = FOLDER / "sounds"


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    config = f'models = []\n[audio]\nmodels = {{ "{MODEL}" = "{FOLDER}" }}\n'
    with running(tmp_path_factory.mktemp("speech"), config=config) as node, node.client() as client:
        yield client


def heard(client, sound="vowels.wav", *, translated=False, **options):
    audio = client.audio
    door = audio.translations if translated else audio.transcriptions
    with (SOUNDS / sound).open("rb") as file:
        return door.create(**{"model": MODEL, "file": file, **options})


def test_a_recording_gives_the_same_text_twice(speech):
    first, again = (heard(speech, language="en", prompt="Vowels.") for _ in range(2))
    assert first.text and first.text == again.text
    assert (first.usage.type, first.usage.seconds) == ("duration", 3)


def test_segments_follow_each_other_and_make_the_text(speech):
    plain = heard(speech).text
    whole = heard(speech, response_format="verbose_json", timestamp_granularities=["segment"])
    assert whole.text == plain
    assert whole.duration == pytest.approx(2.5, abs=0.01)
    assert whole.language
    assert "".join(segment.text for segment in whole.segments).strip() == plain
    ends = [0.0]
    for number, segment in enumerate(whole.segments):
        assert segment.id == number
        assert ends[-1] <= segment.start < segment.end
        assert segment.tokens
        ends.append(segment.end)


@pytest.mark.parametrize("format", ["text", "srt", "vtt"])
def test_a_text_is_no_json(speech, format):
    text = heard(speech, response_format=format)
    assert isinstance(text, str)
    assert text.startswith("WEBVTT\n") == (format == "vtt")
    assert (" --> " in text) == (format != "text")


@pytest.mark.parametrize("sound", ["tone.flac", "tone.mp3", "tone.ogg", "tone.m4a", "tone.wav"])
def test_every_container_is_read(speech, sound):
    assert isinstance(heard(speech, sound).text, str)


def test_a_translation_is_english(speech):
    whole = heard(speech, translated=True, response_format="verbose_json")
    assert whole.language == "english"
    assert isinstance(whole.text, str)


def test_what_cannot_be_heard_is_refused_by_name(speech):
    for options, param in [
        ({"sound": "tone.opus"}, "file"),
        ({"stream": True}, "stream"),
        ({"language": "xx"}, "language"),
        ({"temperature": 2}, "temperature"),
        ({"timestamp_granularities": ["word"], "response_format": "verbose_json"}, None),
    ]:
        with pytest.raises(BadRequestError) as refusal:
            heard(speech, **options)
        assert param is None or refusal.value.param == param
    with pytest.raises(NotFoundError) as refusal:
        heard(speech, model="whisper-of-nobody")
    assert (refusal.value.code, refusal.value.param) == ("model_not_found", "model")


def test_the_model_is_listed_as_what_it_is(speech):
    assert MODEL in [model.id for model in speech.models.list()]
    assert speech.models.retrieve(MODEL).kind == "transcribe"


@pytest.fixture(scope="module")
def english(tmp_path_factory):
    """A client of a node with whisper-tiny.en."""
    folder = tmp_path_factory.mktemp("whisper")
    model = whisper.unpack(folder / "tiny.en")
    config = f'models = []\n[audio]\nmodels = {{ "whisper-1" = "{model}" }}\n'
    with running(folder / "node", config=config) as node, node.client() as client:
        yield client


def test_what_is_said_is_what_is_heard(english):
    heard = english.audio.transcriptions.create(model="whisper-1", file=SENTENCE)
    assert heard.text == WORDS


def test_it_is_said_within_the_recording(english):
    heard = english.audio.transcriptions.create(
        model="whisper-1", file=SENTENCE, language="en", response_format="verbose_json"
    )
    assert heard.text == WORDS
    assert heard.language == "english"
    [segment] = heard.segments
    assert 0 <= segment.start < 1 and heard.duration - 1 < segment.end <= heard.duration + 1
    assert segment.temperature == 0 and segment.no_speech_prob < 0.1
