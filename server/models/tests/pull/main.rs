//! Pulls from every kind of source, with all that can go wrong on the way.

mod cache;
mod home;
mod hub;
mod server;
mod wheel;
