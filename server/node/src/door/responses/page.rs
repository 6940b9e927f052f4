//! Pages of lists: `limit`, `order`, `after`, and other parameters of a query.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use kwaainet_openapi::{ResponseItem, ResponseItemList};
use kwaainet_store::{ItemPage, KeptItem};

use super::context::item;
use crate::door::ApiError;

const LIMIT_DEFAULT: u32 = 20;
const LIMIT_MAX: u32 = 100;

/// A query's parameters, in order.
pub(in crate::door) type Parameters = Vec<(String, String)>;

/// The query, if it can be read.
pub(in crate::door) fn parameters(
    query: Result<Query<Parameters>, QueryRejection>,
) -> Result<Parameters, ApiError> {
    let unreadable = |_| {
        let message = "the query in the URL cannot be read";
        ApiError::bad_request(StatusCode::BAD_REQUEST, Some("invalid_value"), message)
    };
    query
        .map(|Query(parameters)| parameters)
        .map_err(unreadable)
}

/// The parameter's value; the last one counts.
pub(super) fn find<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    let mut found = parameters.iter().rev().filter(|(key, _)| key == name);
    found.next().map(|(_, value)| value.as_str())
}

/// Which page is asked for; the newest first if nothing is said.
pub(in crate::door) fn page(parameters: &Parameters) -> Result<ItemPage, ApiError> {
    let limit = match find(parameters, "limit") {
        None => LIMIT_DEFAULT,
        Some(text) => {
            let limit = text
                .parse()
                .ok()
                .filter(|limit| (1..=LIMIT_MAX).contains(limit));
            limit.ok_or_else(|| wrong("limit", &format!("a number from 1 to {LIMIT_MAX}")))?
        }
    };
    let descending = match find(parameters, "order") {
        None | Some("desc") => true,
        Some("asc") => false,
        Some(_) => return Err(wrong("order", "'asc' or 'desc'")),
    };
    Ok(ItemPage {
        limit,
        descending,
        after: find(parameters, "after").map(str::to_owned),
    })
}

/// A parameter that is true or false.
pub(super) fn flag(parameters: &Parameters, name: &'static str) -> Result<bool, ApiError> {
    match find(parameters, name) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(wrong(name, "'true' or 'false'")),
    }
}

/// A 400 for a parameter.
pub(in crate::door) fn wrong(name: &str, expected: &str) -> ApiError {
    let message = format!("Invalid '{name}': expected {expected}.");
    ApiError::invalid(name, "invalid_value", message)
}

/// A list in the wire's form.
pub(in crate::door) fn list(
    items: &[KeptItem],
    has_more: bool,
) -> Result<ResponseItemList, ApiError> {
    let data: Vec<ResponseItem> = items.iter().map(item).collect::<Result<_, _>>()?;
    Ok(ResponseItemList {
        object: "list",
        first_id: data.first().map(|item| item.id().to_owned()),
        last_id: data.last().map(|item| item.id().to_owned()),
        data,
        has_more,
    })
}
