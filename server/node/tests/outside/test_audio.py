"""Speech through the official SDK. The model has random weights, so what it hears means nothing; that it
answers in every form, the same each time, and refuses what it cannot do is what is asked here."""

from __future__ import annotations

import pytest
from openai import BadRequestError, NotFoundError

from support.node import ROOT, running

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
    assert [model.id for model in speech.models.list()] == [MODEL]
    assert speech.models.retrieve(MODEL).kind == "transcribe"
