//! The messages of the inference plane, as they lie in frames. A field that is not known is passed over, and a
//! number that stands for nothing known is an error where it matters. What they mean is checked in the modules
//! below this one, and nothing outside of them sees these types.
//!
//! Numbers of fields are for ever. Lists of messages are one field of bytes, see [`list`]: as a repeated field, a
//! frame of empty messages would take a hundred times its length in memory before anybody can count them.

pub(crate) mod asks;
pub(crate) mod error;
pub(crate) mod event;
mod grammar;
pub(crate) mod list;
pub(crate) mod names;
mod params;
mod prompt;
pub(crate) mod refusal;
pub(crate) mod request;
pub(crate) mod says;

/// Bytes of an opening message at most; what follows has [`FRAME_MAX`].
pub(crate) const OPEN_MAX: usize = 16 << 20;
/// Bytes of any other message.
pub(crate) const FRAME_MAX: usize = 1 << 20;

/// A message that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Bad {
    /// The field of a client's request that it would be.
    pub(crate) param: &'static str,
    /// One sentence.
    pub(crate) reason: String,
}

impl Bad {
    pub(crate) fn new(param: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self { param, reason }
    }
}

/// What has to be there.
pub(crate) fn needed<T>(field: Option<T>, param: &'static str) -> Result<T, Bad> {
    field.ok_or_else(|| Bad::new(param, format!("there is no '{param}'")))
}

/// Bytes of a known length.
pub(crate) fn array<const N: usize>(bytes: &[u8], param: &'static str) -> Result<[u8; N], Bad> {
    let length = bytes.len();
    bytes
        .try_into()
        .map_err(|_| Bad::new(param, format!("{length} bytes, which should be {N}")))
}

/// An unchecked number that stands for one of these.
pub(crate) fn one_of<T: Copy>(
    all: &[T],
    number: impl Fn(T) -> u32,
    wanted: u32,
    param: &'static str,
) -> Result<T, Bad> {
    let found = all.iter().copied().find(|&one| number(one) == wanted);
    found.ok_or_else(|| Bad::new(param, format!("'{param}' has an unknown value, {wanted}")))
}

/// A length within its bound.
pub(crate) fn at_most(length: usize, max: usize, param: &'static str) -> Result<(), Bad> {
    match length <= max {
        true => Ok(()),
        false => Err(Bad::new(
            param,
            format!("'{param}' has {length} parts or bytes, more than {max}"),
        )),
    }
}
