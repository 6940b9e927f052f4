"""Makes the fixtures of the speech tests: a tiny Whisper with random weights, what `transformers` makes of
a synthetic sound with it, and a tone in every container. Needs torch, transformers, tokenizers, numpy and
ffmpeg.

    python make_whisper.py
"""

import json
import subprocess
import wave
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.generation.logits_process import (
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)
from transformers.modeling_outputs import BaseModelOutput

HERE = Path(__file__).parent
RATE = 16_000
LANGUAGES = ["en", "zh", "de", "fr"]
STEERING = (
    ["<|endoftext|>", "<|startoftranscript|>"]
    + [f"<|{code}|>" for code in LANGUAGES]
    + ["<|translate|>", "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>"]
)
TICKS = 1501
TEXT = "the cat sat on the mat and then the other cat sat there too, says nobody in particular. " * 3


def make_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([TEXT], trainer)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in STEERING])
    tokenizer.save(str(HERE / "tokenizer.json"), pretty=False)
    return tokenizer


def make_model(tokenizer):
    end = tokenizer.token_to_id("<|endoftext|>")
    time = tokenizer.token_to_id("<|notimestamps|>") + 1
    config = WhisperConfig(
        vocab_size=time + TICKS, num_mel_bins=80, d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=128, decoder_ffn_dim=128,
        max_source_positions=1500, max_target_positions=64, init_std=0.3, dropout=0.0,
        decoder_start_token_id=end + 1, eos_token_id=end, bos_token_id=end, pad_token_id=end,
        suppress_tokens=None, begin_suppress_tokens=None,
    )
    torch.manual_seed(20)
    model = WhisperForConditionalGeneration(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "encoder.embed_positions" not in name:
                if weight.dim() == 1 and "norm" not in name:
                    weight.normal_(0, 0.1)
                # What is written is what is computed.
                weight.copy_(weight.half().float())
        # Else one of 1,501 times would always be more probable than any text.
        weight = model.model.decoder.embed_tokens.weight
        weight[time:] *= 0.5
        weight.copy_(weight.half().float())
    kept = {
        name: weight.half().contiguous()
        for name, weight in model.state_dict().items()
        if name != "proj_out.weight" and "encoder.embed_positions" not in name
    }
    save_file(kept, HERE / "model.safetensors", metadata={"format": "pt"})
    suppressed = [tokenizer.token_to_id(c) for c in "#*@"] + list(range(end + 1, time - 1))
    generation = {
        "is_multilingual": True,
        "suppress_tokens": suppressed,
        "begin_suppress_tokens": [tokenizer.token_to_id("Ġ"), end],
        "no_timestamps_token_id": time - 1,
        "max_initial_timestamp_index": 50,
    }
    keys = ["vocab_size", "num_mel_bins", "d_model", "encoder_layers", "decoder_layers",
            "encoder_attention_heads", "decoder_attention_heads", "max_source_positions",
            "max_target_positions", "activation_function", "model_type"]
    written = {key: config.to_dict()[key] for key in keys}
    (HERE / "config.json").write_text(json.dumps(written, indent=1) + "\n")
    (HERE / "generation_config.json").write_text(json.dumps(generation) + "\n")
    return model, generation, time


def make_sound(seconds):
    """Something like vowels: a buzz of changing pitch, louder near three changing frequencies, and noise."""
    rng = np.random.default_rng(7)
    t = np.arange(int(seconds * RATE)) / RATE
    pitch = 120 + 40 * np.sin(2 * np.pi * 1.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    sound = np.zeros_like(t)
    for harmonic in range(1, 40):
        frequency = harmonic * pitch
        for centre, swing in [(600, 200), (1500, 600), (2800, 300)]:
            formant = centre + swing * np.sin(2 * np.pi * 0.9 * t + centre)
            sound += np.exp(-((frequency - formant) / 150) ** 2) * np.sin(harmonic * phase)
    sound *= 0.5 + 0.5 * np.sign(np.sin(2 * np.pi * 1.1 * t))
    sound = 0.2 * sound + 0.003 * rng.standard_normal(len(t))
    return np.clip(sound, -0.99, 0.99)


def write_wav(path, sound):
    samples = np.round(sound * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return samples.astype(np.float32) / 32768


def mels(samples):
    chosen = {}
    for bands in (80, 128):
        extractor = WhisperFeatureExtractor(feature_size=bands)
        features = extractor(samples, sampling_rate=RATE, return_tensors="np").input_features[0]
        frames = [0, 1, 2, 37, 90, 151, 199, 200, 250, 2999]
        chosen[bands] = {str(frame): [round(float(x), 5) for x in features[:, frame]] for frame in frames}
    return chosen


@torch.no_grad()
def greedy(model, generation, time, samples, tokenizer):
    extractor = WhisperFeatureExtractor(feature_size=80)
    features = extractor(samples, sampling_rate=RATE, return_tensors="pt").input_features
    encoded = BaseModelOutput(model.model.encoder(features).last_hidden_state)
    start = tokenizer.token_to_id("<|startoftranscript|>")
    end = tokenizer.token_to_id("<|endoftext|>")

    def logits(ids):
        return model(encoder_outputs=encoded, decoder_input_ids=torch.tensor([ids])).logits[0]

    first = logits([start])[-1]
    languages = {code: first[tokenizer.token_to_id(f"<|{code}|>")].item() for code in LANGUAGES}
    opening = [start, tokenizer.token_to_id("<|en|>"), tokenizer.token_to_id("<|transcribe|>")]
    config = model.generation_config
    config.no_timestamps_token_id = time - 1
    config.max_initial_timestamp_index = generation["max_initial_timestamp_index"]
    config.eos_token_id = end
    begin = len(opening)
    processors = [
        SuppressTokensLogitsProcessor(generation["suppress_tokens"]),
        SuppressTokensAtBeginLogitsProcessor(generation["begin_suppress_tokens"], begin),
        WhisperTimeStampLogitsProcessor(config, begin_index=begin),
    ]
    ids, margins, total = list(opening), [], 0.0
    opening_logits = logits(ids)[-1]
    for _ in range(model.config.max_target_positions // 2):
        scores = logits(ids)[-1].unsqueeze(0)
        for processor in processors:
            scores = processor(torch.tensor([ids]), scores)
        best = scores[0].topk(2)
        margins.append((best.values[0] - best.values[1]).item())
        chosen = best.indices[0].item()
        total += scores[0].log_softmax(-1)[chosen].item()
        if chosen == end:
            break
        ids.append(chosen)
    said = ids[begin:]
    no_speech = logits(opening)[0].softmax(-1)[tokenizer.token_to_id("<|nospeech|>")].item()
    return {
        "opening": opening,
        "tokens": said,
        "text": tokenizer.decode([i for i in said if i < end]),
        "language": max(languages, key=languages.get),
        "avg_logprob": total / (len(said) + 1),
        "no_speech_prob": no_speech,
        "first_logits": [round(x, 4) for x in opening_logits[:32].tolist()],
        "least_margin": min(margins),
    }


def make_tones():
    tone = ["-f", "lavfi", "-i", "sine=frequency=500:sample_rate=32000:duration=0.5"]
    # The right channel is silent, so that mixing halves the tone.
    mix = ["-af", "volume=4,pan=stereo|c0=c0|c1=0*c0", "-map_metadata", "-1", "-fflags", "+bitexact",
           "-flags", "+bitexact"]
    for name, codec in [
        ("tone.wav", ["-c:a", "pcm_s16le"]),
        ("tone.flac", ["-c:a", "flac"]),
        ("tone.mp3", ["-c:a", "libmp3lame", "-b:a", "64k"]),
        ("tone.ogg", ["-c:a", "libvorbis", "-q:a", "3"]),
        ("tone.m4a", ["-c:a", "aac", "-b:a", "64k"]),
        ("tone.opus", ["-c:a", "libopus", "-b:a", "32k", "-ar", "48000"]),
    ]:
        out = str(HERE / "sounds" / name)
        subprocess.run(["ffmpeg", "-v", "error", "-y", *tone, *mix, *codec, out], check=True)


def main():
    (HERE / "sounds").mkdir(exist_ok=True)
    tokenizer = make_tokenizer()
    model, generation, time = make_model(tokenizer)
    samples = write_wav(HERE / "sounds" / "vowels.wav", make_sound(2.5))
    expected = {"mels": mels(samples), "greedy": greedy(model, generation, time, samples, tokenizer)}
    (HERE / "expected.json").write_text(json.dumps(expected) + "\n")
    print({k: v for k, v in expected["greedy"].items() if k != "first_logits"}, "times from", time)
    make_tones()


main()
