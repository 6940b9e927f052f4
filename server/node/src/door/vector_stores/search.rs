//! Search in vector stores: exact, over every piece. [`search`] is the one way in, for the endpoint and for
//! tools that the node runs itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use kwaainet_core::{
    AdmissionError, Constraints, EmbedInput, Job, JobId, ModelId, Principal, Work,
};
use kwaainet_openapi::{
    RankingOptions, VectorSearchContent, VectorSearchQuery, VectorSearchRequest,
    VectorSearchResult, VectorSearchResults,
};
use kwaainet_store::{SearchPart, VectorStoreRecord};
use serde_json::{Map, Value};

use super::filters::Filter;
use super::{attributes, find_live};
use crate::door::body::ApiJson;
use crate::door::constraints::Demands;
use crate::door::path::ApiPath;
use crate::door::{ApiError, App, params, rerank, unsupported};

const QUERIES_MAX: usize = 16;
/// OpenAI's limits.
const RESULTS: (i64, i64) = (1, 50);
const RESULTS_DEFAULT: i64 = 10;
/// How long a search may wait for others, and when to come again if that is too long.
const WAIT_MAX: Duration = Duration::from_secs(30);
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// A piece has to be near one of these.
    pub(crate) queries: Vec<String>,
    /// At most so many pieces.
    pub(crate) limit: usize,
    /// Only in files for which this holds.
    pub(crate) filter: Option<Filter>,
    /// Only pieces with at least this score, from 0 to 1.
    pub(crate) score_min: f32,
    /// Where the queries may be embedded.
    pub(crate) constraints: Constraints,
}

impl Wanted {
    /// As a request has it, without queries as yet.
    pub(crate) fn parse(
        max_num_results: Option<i64>,
        filters: Option<&Value>,
        ranking: Option<&RankingOptions>,
    ) -> Result<Self, ApiError> {
        let limit = params::integer(max_num_results, "max_num_results", RESULTS)?;
        let filters = filters.filter(|filters| !filters.is_null());
        let filter = filters.map(|filters| Filter::parse(filters, "filters"));
        Ok(Self {
            queries: Vec::new(),
            limit: limit.unwrap_or(RESULTS_DEFAULT) as usize,
            filter: filter.transpose()?,
            score_min: ranking.map_or(Ok(0.0), score_min)?,
            constraints: Constraints::default(),
        })
    }
}

/// A piece that was found.
#[derive(Clone, Debug)]
pub(crate) struct Found {
    pub(crate) file_id: String,
    pub(crate) filename: String,
    pub(crate) attributes: Option<Value>,
    /// From 0 to 1.
    pub(crate) score: f32,
    pub(crate) text: String,
}

/// Looks for the pieces that are nearest to one of the queries, in all of these stores of the principal's,
/// nearest first.
pub(crate) async fn search(
    app: &App,
    principal: &Principal,
    stores: &[String],
    wanted: &Wanted,
) -> Result<Vec<Found>, ApiError> {
    let mut vectors: HashMap<String, Vec<Vec<f32>>> = HashMap::new();
    let mut all = Vec::new();
    for id in stores {
        let store = find_live(app, principal, id).await?;
        if !vectors.contains_key(&store.model) {
            let made = embed(app, principal, &store.model, wanted).await?;
            vectors.insert(store.model.clone(), made);
        }
        all.extend(search_one(app, &store, &vectors[&store.model], wanted).await?);
        app.store
            .touch_vector_store(&store.id, app.clock.unix_ms())
            .await?;
    }
    // Each store's results are in order; between equals the order of the stores decides.
    all.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    all.truncate(wanted.limit);
    Ok(all.into_iter().map(|(_, found)| found).collect())
}

/// The nearest pieces of one store, with their cosines.
async fn search_one(
    app: &App,
    store: &VectorStoreRecord,
    vectors: &[Vec<f32>],
    wanted: &Wanted,
) -> Result<Vec<(f32, Found)>, ApiError> {
    let mut parts = app.store.search_parts(&store.id).await?;
    if let Some(filter) = &wanted.filter {
        let none = Map::new();
        parts.retain(|part| {
            let attributes = attributes::read(part.attributes.as_ref());
            let fields = attributes.as_ref().and_then(Value::as_object);
            filter.holds(fields.unwrap_or(&none))
        });
    }
    // A score of 0 stands for all that is not above it.
    let cosine_min = if wanted.score_min > 0.0 {
        wanted.score_min
    } else {
        f32::NEG_INFINITY
    };
    let place = tokio::time::timeout(WAIT_MAX, app.searches.acquire()).await;
    let full = || AdmissionError::Overloaded {
        retry_after: RETRY_AFTER,
    };
    let _place = place.map_err(|_| full())?.map_err(|_| full())?;
    let parts: HashMap<i64, SearchPart> = parts.into_iter().map(|part| (part.part, part)).collect();
    let mut names: Vec<i64> = parts.keys().copied().collect();
    names.sort_unstable();
    let nearest = app
        .store
        .nearest_chunks(&names, vectors, wanted.limit, cosine_min);
    let nearest = nearest.await?;
    let found = nearest.into_iter().filter_map(|hit| {
        let part = parts.get(&hit.part)?;
        let found = Found {
            file_id: part.file.clone(),
            filename: part.filename.clone(),
            attributes: attributes::read(part.attributes.as_ref()),
            score: rerank::score(hit.cosine),
            text: hit.text,
        };
        Some((hit.cosine, found))
    });
    Ok(found.collect())
}

async fn embed(
    app: &App,
    principal: &Principal,
    model: &str,
    wanted: &Wanted,
) -> Result<Vec<Vec<f32>>, ApiError> {
    let job = Job::new(
        JobId::random(),
        ModelId::new(model),
        Work::Embed {
            inputs: wanted
                .queries
                .iter()
                .cloned()
                .map(EmbedInput::Text)
                .collect(),
            dimensions: None,
        },
    )
    .within(wanted.constraints.clone());
    let made = app.hallway.embed(principal.clone(), job).await;
    let made = made.map_err(|error| ApiError::from(error).renamed("input", "query"))?;
    Ok(made.answer.vectors)
}

/// Searches a vector store.
#[utoipa::path(
    post,
    path = "/v1/vector_stores/{vector_store_id}/search",
    tag = "vector stores",
    operation_id = "searchVectorStore",
    params(("vector_store_id" = String, Path, description = "The vector store's id.")),
    request_body = VectorSearchRequest,
    responses((status = 200, description = "What was found.", body = VectorSearchResults))
)]
pub(crate) async fn create(
    State(app): State<Arc<App>>,
    Extension(principal): Extension<Principal>,
    ApiPath(id): ApiPath<String>,
    demands: Demands,
    ApiJson(request): ApiJson<VectorSearchRequest>,
) -> Result<Json<VectorSearchResults>, ApiError> {
    unsupported::check_search(&request.other)?;
    if request.rewrite_query == Some(true) {
        let message = "Unsupported value: 'rewrite_query' cannot be true on this node.";
        let (param, code) = ("rewrite_query", "unsupported_value");
        return Err(ApiError::invalid(param, code, message));
    }
    let wanted = Wanted {
        queries: queries(request.query)?,
        constraints: demands.with(request.kwaai)?,
        ..Wanted::parse(
            request.max_num_results,
            request.filters.as_ref(),
            request.ranking_options.as_ref(),
        )?
    };
    let found = search(&app, &principal, &[id], &wanted).await?;
    let data = found.into_iter().map(|found| VectorSearchResult {
        file_id: found.file_id,
        filename: found.filename,
        score: found.score,
        attributes: found.attributes,
        content: vec![VectorSearchContent {
            kind: "text",
            text: found.text,
        }],
    });
    Ok(Json(VectorSearchResults {
        object: "vector_store.search_results.page",
        data: data.collect(),
        search_query: wanted.queries,
        has_more: false,
        next_page: None,
    }))
}

fn queries(query: Option<Value>) -> Result<Vec<String>, ApiError> {
    let query = params::required(query, "query")?;
    let queries = match serde_json::from_value(query) {
        Ok(VectorSearchQuery::One(query)) => vec![query],
        Ok(VectorSearchQuery::Many(queries)) => queries,
        Err(_) => {
            let message = "Invalid type for 'query': expected a string or an array of strings.";
            return Err(ApiError::invalid("query", "invalid_type", message));
        }
    };
    let is_sound = (1..=QUERIES_MAX).contains(&queries.len());
    if !is_sound || queries.iter().any(|query| query.trim().is_empty()) {
        let message = format!("Invalid 'query': expected 1 to {QUERIES_MAX} texts, none empty.");
        return Err(ApiError::invalid("query", "invalid_value", message));
    }
    Ok(queries)
}

fn score_min(options: &RankingOptions) -> Result<f32, ApiError> {
    unsupported::check_ranking(&options.other)?;
    if !matches!(options.ranker.as_deref(), None | Some("auto" | "none")) {
        let (param, code) = ("ranking_options.ranker", "unsupported_value");
        let message = format!("Unsupported '{param}': this node has 'auto' and 'none'.");
        return Err(ApiError::invalid(param, code, message));
    }
    let param = "ranking_options.score_threshold";
    params::number(options.score_threshold, param, (0.0, 1.0), 0.0)
}
