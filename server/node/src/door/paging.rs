//! The query of a list: which page of it is wanted.

use kwaainet_store::{Listed, Page};
use serde::Deserialize;

use super::ApiError;

/// What may stand in a list's query. Every list passes over what means nothing to it.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct ListQuery {
    after: Option<String>,
    before: Option<String>,
    limit: Option<String>,
    order: Option<String>,
    /// Of files.
    pub(crate) purpose: Option<String>,
    /// Of files in a vector store.
    pub(crate) filter: Option<String>,
}

/// Items of a page, at most and if not told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PageLimits {
    pub(crate) max: u32,
    pub(crate) default: u32,
}

/// OpenAI's limits of most lists.
pub(crate) const SHORT: PageLimits = PageLimits {
    max: 100,
    default: 20,
};

impl ListQuery {
    /// The page that is wanted.
    pub(crate) fn page(&self, limits: PageLimits) -> Result<Page, ApiError> {
        let newest_first = match self.order.as_deref() {
            None | Some("desc") => true,
            Some("asc") => false,
            Some(_) => {
                let message = "Invalid 'order': it must be 'asc' or 'desc'.";
                return Err(ApiError::invalid("order", "invalid_value", message));
            }
        };
        Ok(Page {
            after: self.after.clone(),
            before: self.before.clone(),
            limit: self.limit(limits)?,
            newest_first,
        })
    }

    fn limit(&self, limits: PageLimits) -> Result<u32, ApiError> {
        let Some(given) = &self.limit else {
            return Ok(limits.default);
        };
        let limit = given.parse().ok();
        limit
            .filter(|n| (1..=limits.max).contains(n))
            .ok_or_else(|| {
                let message = format!(
                    "Invalid 'limit': expected a number from 1 to {}.",
                    limits.max
                );
                ApiError::invalid("limit", "invalid_value", message)
            })
    }

    /// The page that was found, or which field names what is not in the list.
    pub(crate) fn found<T>(&self, listed: Option<Listed<T>>) -> Result<Listed<T>, ApiError> {
        listed.ok_or_else(|| {
            let param = if self.after.is_some() {
                "after"
            } else {
                "before"
            };
            let message = format!("Invalid '{param}': there is no such item in the list.");
            ApiError::invalid(param, "invalid_value", message)
        })
    }
}

/// Makes a page's wire type out of its items.
macro_rules! page_of {
    ($type:ident, $listed:expr, $wire:expr) => {{
        let listed = $listed;
        let data: Vec<_> = listed.items.iter().map($wire).collect();
        $type {
            object: "list",
            first_id: data.first().map(|item| item.id.clone()),
            last_id: data.last().map(|item| item.id.clone()),
            data,
            has_more: listed.has_more,
        }
    }};
}
pub(crate) use page_of;

#[cfg(test)]
mod tests {
    use axum::extract::FromRequestParts;
    use axum::http::Request;

    use super::*;
    use crate::door::path::ApiQuery;

    async fn asked(query: &str) -> Result<Page, Option<String>> {
        let request = Request::get(format!("http://x/?{query}")).body(());
        let (mut parts, ()) = request.expect("it is a request").into_parts();
        let query = ApiQuery::<ListQuery>::from_request_parts(&mut parts, &()).await;
        let page = query.and_then(|ApiQuery(query)| query.page(SHORT));
        page.map_err(|error| error.body().error.param)
    }

    #[tokio::test]
    async fn a_page_keeps_to_its_limits() {
        let page = asked("").await.expect("it is sound");
        assert_eq!((page.limit, page.newest_first), (20, true));
        let page = asked("limit=100&order=asc&after=a&other=1")
            .await
            .expect("it is sound");
        assert_eq!((page.limit, page.newest_first), (100, false));
        assert_eq!(page.after.as_deref(), Some("a"));
        for bad in ["0", "101", "-1", "x", "1.5", ""] {
            let refused = asked(&format!("limit={bad}")).await;
            assert_eq!(refused.err(), Some(Some("limit".to_owned())), "{bad}");
        }
        let refused = asked("order=up").await.err();
        assert_eq!(refused, Some(Some("order".to_owned())));
        assert_eq!(asked("after=a&after=b").await.err(), Some(None));
    }
}
