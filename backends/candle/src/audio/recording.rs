//! Files of any known container and codec to samples at 16 kHz, through symphonia.

use std::io::{Cursor, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use kwaainet_core::BackendError;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;

use super::resample::{RATES, Resampler};
use super::{RATE, Stop, unheard};

const UNREADABLE: &str = "the file is no recording that can be read; known are flac, mp3, mp4 and m4a \
                          (AAC-LC), ogg (Vorbis) and wav";

/// All samples, channels mixed.
///
/// # Errors
/// When it cannot be read, is too long, or when told to stop.
pub(super) fn read(
    audio: Arc<[u8]>,
    seconds_max: u32,
    stop: &Stop,
) -> Result<Vec<f32>, BackendError> {
    // The bytes are a stranger's; what they bring down must not be the node's fault.
    let read = AssertUnwindSafe(|| Reading::open(audio)?.all(seconds_max, stop));
    catch_unwind(read).unwrap_or_else(|_| Err(unheard(UNREADABLE)))
}

struct Reading {
    format: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
}

impl Reading {
    fn open(audio: Arc<[u8]>) -> Result<Self, BackendError> {
        let unreadable = |_: Error| unheard(UNREADABLE);
        let stream = MediaSourceStream::new(Box::new(Cursor::new(audio)), Default::default());
        let format = symphonia::default::get_probe()
            .probe(
                &Hint::new(),
                stream,
                FormatOptions::default(),
                MetadataOptions::default(),
            )
            .map_err(unreadable)?;
        let track = format.default_track(TrackType::Audio);
        let track = track.ok_or_else(|| unheard("the file has no sound"))?;
        let codec = track
            .codec_params
            .as_ref()
            .and_then(|params| params.audio());
        let codec = codec.ok_or_else(|| unheard(UNREADABLE))?;
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(codec, &AudioDecoderOptions::default())
            .map_err(unreadable)?;
        let track = track.id;
        Ok(Self {
            format,
            decoder,
            track,
        })
    }

    fn all(mut self, seconds_max: u32, stop: &Stop) -> Result<Vec<f32>, BackendError> {
        let most = seconds_max as usize * RATE;
        let (mut samples, mut interleaved, mut mixed) = (Vec::new(), Vec::new(), Vec::new());
        let mut resampler: Option<(u32, Resampler)> = None;
        loop {
            stop.check()?;
            let packet = match self.format.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => break,
                // A file that is cut short is heard as far as it goes.
                Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => break,
                Err(_) => return Err(unheard(UNREADABLE)),
            };
            if packet.track_id != self.track {
                continue;
            }
            let decoded = match self.decoder.decode(&packet) {
                Ok(decoded) => decoded,
                // One bad packet is a crackle.
                Err(Error::DecodeError(_)) => continue,
                Err(_) => return Err(unheard(UNREADABLE)),
            };
            if decoded.frames() == 0 {
                continue;
            }
            let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
            if !RATES.contains(&rate) || channels == 0 {
                return Err(unheard(
                    "the recording's sampling rate is not between 2 and 192 kHz",
                ));
            }
            let (was, resampler) = resampler.get_or_insert_with(|| (rate, Resampler::new(rate)));
            if *was != rate {
                return Err(unheard("the recording changes its sampling rate"));
            }
            decoded.copy_to_vec_interleaved::<f32>(&mut interleaved);
            mixed.clear();
            mixed.extend(interleaved.chunks_exact(channels).map(mean));
            resampler.push(&mixed, &mut samples);
            if samples.len() > most {
                return Err(BackendError::AudioTooLong { seconds_max });
            }
        }
        let (_, resampler) = resampler.ok_or_else(|| unheard(UNREADABLE))?;
        resampler.finish(&mut samples);
        Ok(samples)
    }
}

/// What all channels together sound like. A file of floats may hold what is no number.
fn mean(channels: &[f32]) -> f32 {
    let mean = channels.iter().sum::<f32>() / channels.len() as f32;
    if mean.is_finite() {
        mean.clamp(-1.0, 1.0)
    } else {
        0.0
    }
}
