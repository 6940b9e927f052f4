//! Lists of messages as one field: each with its length before it, as protobuf delimits them. They are counted
//! while they are read, so that nobody can send more of them than are taken.

use prost::Message;

use super::asks::Text;
use super::{Bad, at_most};

/// Puts one at the end of a list.
pub(crate) fn add<M: Message>(list: &mut Vec<u8>, item: &M) {
    item.encode_length_delimited(list)
        .expect("a vector takes any number of bytes");
}

pub(crate) fn write<M: Message>(items: impl IntoIterator<Item = M>) -> Vec<u8> {
    let mut list = Vec::new();
    for item in items {
        add(&mut list, &item);
    }
    list
}

pub(crate) fn read<M: Message + Default>(
    mut list: &[u8],
    max: usize,
    param: &'static str,
) -> Result<Vec<M>, Bad> {
    let mut items = Vec::new();
    while !list.is_empty() {
        at_most(items.len() + 1, max, param)?;
        let item = M::decode_length_delimited(&mut list);
        items.push(item.map_err(|error| Bad::new(param, error.to_string()))?);
    }
    Ok(items)
}

pub(crate) fn write_texts(texts: Vec<String>) -> Vec<u8> {
    write(texts.into_iter().map(|text| Text { text }))
}

pub(crate) fn read_texts(list: &[u8], max: usize, param: &'static str) -> Result<Vec<String>, Bad> {
    let texts = read::<Text>(list, max, param)?;
    Ok(texts.into_iter().map(|text| text.text).collect())
}
