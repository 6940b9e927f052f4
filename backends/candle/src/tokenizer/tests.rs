//! Against llama.cpp's own answers for real models, and against small vocabularies made by hand.

mod golden;
mod synthetic;
