//! The form in which items are kept: the wire's, with what a search gave the model where the client was not
//! to see it.

use std::collections::HashMap;

use kwaainet_openapi::{FileSearchResult, ResponseItem};
use kwaainet_store::KeptItem;
use serde::{Deserialize, Serialize};

use crate::door::ApiError;

/// A kept item in the wire's form, as its owner is to see it.
pub(in crate::door) fn item(kept: &KeptItem) -> Result<ResponseItem, ApiError> {
    serde_json::from_str(&kept.body).map_err(|_| ApiError::internal("a kept item is malformed"))
}

/// A kept item as the model knows it: with what a search gave it, whoever was to see that.
pub(super) fn known(kept: &KeptItem) -> Result<ResponseItem, ApiError> {
    let mut item = item(kept)?;
    if let ResponseItem::FileSearchCall(search) = &mut item
        && search.results.is_none()
    {
        let malformed = |_| ApiError::internal("a kept search is malformed");
        let hidden: Hidden = serde_json::from_str(&kept.body).map_err(malformed)?;
        search.results = hidden.given;
    }
    Ok(item)
}

/// An item in the form in which it is kept.
pub(in crate::door) fn kept(item: &ResponseItem) -> KeptItem {
    kept_with(item, &Findings::new())
}

/// The same, with what the model was given if it is a search whose results are not shown.
pub(super) fn kept_with(item: &ResponseItem, found: &Findings) -> KeptItem {
    let given = match item {
        ResponseItem::FileSearchCall(search) if search.results.is_none() => found.get(&search.id),
        _ => None,
    };
    let body = match given {
        Some(given) => serde_json::to_string(&WithHidden { item, given }),
        None => serde_json::to_string(item),
    };
    KeptItem {
        id: item.id().to_owned(),
        body: body.expect("wire types have string keys only"),
    }
}

/// What the model was given, by the ids of the searches.
pub(super) type Findings = HashMap<String, Vec<FileSearchResult>>;

/// A search as it is kept where its results are not shown: one field more than the wire knows.
#[derive(Serialize)]
struct WithHidden<'a> {
    #[serde(flatten)]
    item: &'a ResponseItem,
    given: &'a [FileSearchResult],
}

/// That field alone.
#[derive(Deserialize)]
struct Hidden {
    given: Option<Vec<FileSearchResult>>,
}
