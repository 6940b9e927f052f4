//! What a request demands of the place where it is served: the field `kwaai` of its body, or headers
//! `x-kwaai-…`. Both are checked alike; where they contradict each other the request is refused, and so is
//! one whose headers the endpoint would not heed, since a demand that is overlooked is worse than an error.

use std::sync::Arc;

use axum::extract::{FromRequestParts, MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use kwaainet_core::{Constraints, DataClass, NodeId, Prefer, Tier};
use kwaainet_openapi::{Kwaai, KwaaiRegions};
use serde_json::Value;

use super::{ApiError, App};

/// Begins the name of each header.
pub(crate) const PREFIX: &str = "x-kwaai-";
/// The headers, without [`PREFIX`], with what each says.
pub(crate) const HEADERS: [(&str, &str); 10] = [
    ("prefer", "`local`, `fast`, `green` or `cheap`."),
    (
        "tier-min",
        "`t0` to `t3`: nodes of this tier or a better one.",
    ),
    ("region", "One region or several, with commas between."),
    (
        "max-gco2-per-1k",
        "Grams of CO2 equivalent for 1,000 tokens at most.",
    ),
    ("max-price", "Micro-VDA for 1,000 tokens at most."),
    ("data-class", "`confidential` or `normal`."),
    ("max-ttft-ms", "Milliseconds to the first token at most."),
    ("peers", "Ids of nodes, with commas between."),
    ("inexact", "`true` or `false`."),
    (
        "carbon",
        "`true` for a usage that says what the request took of energy.",
    ),
];
/// Endpoints that heed the headers.
pub(crate) const HEEDED_BY: [&str; 20] = [
    "/api/chat",
    "/api/embed",
    "/api/embeddings",
    "/api/generate",
    "/rerank",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/detokenize",
    "/v1/embeddings",
    "/v1/kwaai/route",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/rerank",
    "/v1/responses",
    "/v1/responses/input_tokens",
    "/v1/tokenize",
    "/v1/vector_stores/{vector_store_id}/search",
    "/v2/rerank",
];

const REGIONS_MAX: usize = 16;
const REGION_BYTES_MAX: usize = 32;
const PEERS_MAX: usize = 64;

/// What the headers of a request demand.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demands(Vec<Demand>);

/// One demand, checked.
#[derive(Clone, Debug, PartialEq)]
enum Demand {
    Prefer(Prefer),
    TierMin(Tier),
    Regions(Vec<String>),
    Grams(f64),
    Price(u64),
    Class(DataClass),
    FirstToken(u64),
    Peers(Vec<NodeId>),
    Inexact(bool),
    Carbon(bool),
}

impl FromRequestParts<Arc<App>> for Demands {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, ApiError> {
        Self::of_headers(&parts.headers)
    }
}

impl Demands {
    /// Whether the usage is to say what the request took of energy, by the headers or by the body.
    pub(crate) fn carbon(&self, kwaai: Option<&Kwaai>) -> bool {
        let header = self.0.contains(&Demand::Carbon(true));
        header || kwaai.is_some_and(|kwaai| kwaai.carbon == Some(true))
    }

    /// With what stands in the body too.
    pub(crate) fn with(self, kwaai: Option<Kwaai>) -> Result<Constraints, ApiError> {
        let body = kwaai.map_or_else(|| Ok(Vec::new()), of_body)?;
        let mut constraints = Constraints::default();
        for demand in &body {
            let kind = std::mem::discriminant(demand);
            let other = self.0.iter().find(|d| std::mem::discriminant(*d) == kind);
            if other.is_some_and(|other| other != demand) {
                let param = format!("kwaai.{}", demand.field());
                let header = format!("{PREFIX}{}", demand.field().replace('_', "-"));
                let message = format!("'{param}' and the header '{header}' contradict each other.");
                return Err(ApiError::invalid(param, "invalid_value", message));
            }
        }
        for demand in self.0.into_iter().chain(body) {
            demand.put(&mut constraints);
        }
        Ok(constraints)
    }

    fn of_headers(headers: &HeaderMap) -> Result<Self, ApiError> {
        let mut kwaai = Kwaai::default();
        for name in headers.keys() {
            let Some(field) = name.as_str().strip_prefix(PREFIX) else {
                continue;
            };
            let at = name.as_str();
            if !HEADERS.iter().any(|(known, _)| *known == field) {
                let message = format!("There is no header '{at}'.");
                return Err(ApiError::invalid(at, "unknown_parameter", message));
            }
            let mut values = headers.get_all(name).iter();
            let text = values.next().and_then(|value| value.to_str().ok());
            let text = text.filter(|_| values.next().is_none()).map(str::trim);
            let text = text.ok_or_else(|| wrong(at, "expected one text"))?;
            take(&mut kwaai, field, text, at)?;
        }
        let at = |field: &str| format!("{PREFIX}{}", field.replace('_', "-"));
        read(kwaai, at).map(Self)
    }
}

/// Refuses headers that an endpoint would overlook.
pub(crate) async fn guard(request: Request, next: Next) -> Result<Response, ApiError> {
    let path = request.extensions().get::<MatchedPath>();
    let is_heeded = path.is_none_or(|path| HEEDED_BY.contains(&path.as_str()));
    if request.method() == Method::POST && !is_heeded {
        let mut names = request.headers().keys();
        if let Some(name) = names.find(|name| name.as_str().starts_with(PREFIX)) {
            let message = format!("This endpoint does not heed the header '{name}'.");
            let at = name.as_str();
            return Err(ApiError::invalid(at, "unsupported_parameter", message));
        }
    }
    Ok(next.run(request).await)
}

/// A header's text as its field in the body.
fn take(kwaai: &mut Kwaai, field: &str, text: &str, at: &str) -> Result<(), ApiError> {
    let list = || text.split(',').map(|one| one.trim().to_owned());
    let whole = || {
        text.parse()
            .map_err(|_| wrong(at, "expected a whole number"))
    };
    match field {
        "prefer" => kwaai.prefer = Some(text.to_owned()),
        "tier-min" => kwaai.tier_min = Some(text.to_owned()),
        "region" => kwaai.region = Some(list().collect()),
        "max-gco2-per-1k" => {
            let grams = text.parse().map_err(|_| wrong(at, "expected a number"));
            kwaai.max_gco2_per_1k = Some(grams?);
        }
        "max-price" => kwaai.max_price = Some(whole()?),
        "data-class" => kwaai.data_class = Some(text.to_owned()),
        "max-ttft-ms" => kwaai.max_ttft_ms = Some(whole()?),
        "peers" => kwaai.peers = Some(list().collect()),
        field => {
            let flag = text
                .parse()
                .map_err(|_| wrong(at, "expected 'true' or 'false'"))?;
            match field {
                "carbon" => kwaai.carbon = Some(flag),
                _ => kwaai.inexact = Some(flag),
            }
        }
    }
    Ok(())
}

fn of_body(kwaai: Kwaai) -> Result<Vec<Demand>, ApiError> {
    if let Some(field) = kwaai.other.keys().next() {
        let param = format!("kwaai.{field}");
        let message = format!("Unknown parameter: '{param}'.");
        return Err(ApiError::invalid(param, "unknown_parameter", message));
    }
    read(kwaai, |field| format!("kwaai.{field}"))
}

/// Checks every field; `at` says where it stands.
fn read(kwaai: Kwaai, at: impl Fn(&str) -> String) -> Result<Vec<Demand>, ApiError> {
    let mut demands = Vec::new();
    if let Some(word) = kwaai.prefer {
        let words = [
            ("local", Prefer::Local),
            ("fast", Prefer::Fast),
            ("green", Prefer::Green),
            ("cheap", Prefer::Cheap),
        ];
        demands.push(Demand::Prefer(one_of(&word, &words, &at("prefer"))?));
    }
    if let Some(word) = kwaai.tier_min {
        let words = [Tier::T0, Tier::T1, Tier::T2, Tier::T3].map(|t| (t.to_string(), t));
        let words = words.each_ref().map(|(word, tier)| (word.as_str(), *tier));
        demands.push(Demand::TierMin(one_of(&word, &words, &at("tier_min"))?));
    }
    if let Some(value) = kwaai.region.filter(|value| !value.is_null()) {
        demands.push(Demand::Regions(regions(value, &at("region"))?));
    }
    if let Some(grams) = kwaai.max_gco2_per_1k {
        let at = at("max_gco2_per_1k");
        if !(grams.is_finite() && grams >= 0.0) {
            return Err(wrong(&at, "expected a number >= 0"));
        }
        demands.push(Demand::Grams(grams));
    }
    if let Some(price) = kwaai.max_price {
        demands.push(Demand::Price(whole(price, &at("max_price"))?));
    }
    if let Some(word) = kwaai.data_class {
        let words = [
            ("confidential", DataClass::Confidential),
            ("normal", DataClass::Normal),
        ];
        demands.push(Demand::Class(one_of(&word, &words, &at("data_class"))?));
    }
    if let Some(ms) = kwaai.max_ttft_ms {
        demands.push(Demand::FirstToken(whole(ms, &at("max_ttft_ms"))?));
    }
    if let Some(ids) = kwaai.peers {
        demands.push(Demand::Peers(peers(&ids, &at("peers"))?));
    }
    demands.extend(kwaai.inexact.map(Demand::Inexact));
    demands.extend(kwaai.carbon.map(Demand::Carbon));
    Ok(demands)
}

impl Demand {
    fn field(&self) -> &'static str {
        match self {
            Self::Prefer(_) => "prefer",
            Self::TierMin(_) => "tier_min",
            Self::Regions(_) => "region",
            Self::Grams(_) => "max_gco2_per_1k",
            Self::Price(_) => "max_price",
            Self::Class(_) => "data_class",
            Self::FirstToken(_) => "max_ttft_ms",
            Self::Peers(_) => "peers",
            Self::Inexact(_) => "inexact",
            Self::Carbon(_) => "carbon",
        }
    }

    fn put(self, constraints: &mut Constraints) {
        match self {
            Self::Prefer(prefer) => constraints.prefer = prefer,
            Self::TierMin(tier) => constraints.tier_min = Some(tier),
            Self::Regions(regions) => constraints.regions = regions,
            Self::Grams(grams) => constraints.max_gco2_per_1k = Some(grams),
            Self::Price(price) => constraints.max_price = Some(price),
            Self::Class(class) => constraints.data_class = class,
            Self::FirstToken(ms) => constraints.max_ttft_ms = Some(ms),
            Self::Peers(nodes) => constraints.peers = Some(nodes),
            Self::Inexact(inexact) => constraints.inexact = inexact,
            // Nothing that a place could fulfil.
            Self::Carbon(_) => {}
        }
    }
}

fn one_of<T: Copy>(word: &str, words: &[(&str, T)], at: &str) -> Result<T, ApiError> {
    let found = words.iter().find(|(known, _)| *known == word);
    found.map(|(_, meant)| *meant).ok_or_else(|| {
        let known: Vec<_> = words.iter().map(|(word, _)| format!("'{word}'")).collect();
        wrong(at, &format!("expected {}", known.join(", ")))
    })
}

fn whole(number: i64, at: &str) -> Result<u64, ApiError> {
    u64::try_from(number).map_err(|_| wrong(at, "expected a whole number >= 0"))
}

/// In lower case, in order and each once, so that lists that say the same are the same.
fn regions(value: Value, at: &str) -> Result<Vec<String>, ApiError> {
    let given = match serde_json::from_value(value) {
        Ok(KwaaiRegions::One(region)) => vec![region],
        Ok(KwaaiRegions::Many(regions)) => regions,
        Err(_) => {
            let message =
                format!("Invalid type for '{at}': expected a string or an array of strings.");
            return Err(ApiError::invalid(at, "invalid_type", message));
        }
    };
    let is_sound = |region: &String| {
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        (1..=REGION_BYTES_MAX).contains(&region.len()) && region.bytes().all(is_word)
    };
    if !(1..=REGIONS_MAX).contains(&given.len()) || !given.iter().all(is_sound) {
        let what = format!(
            "expected 1 to {REGIONS_MAX} regions, each of at most {REGION_BYTES_MAX} letters, digits and dashes"
        );
        return Err(wrong(at, &what));
    }
    let mut regions: Vec<_> = given.iter().map(|r| r.to_ascii_lowercase()).collect();
    regions.sort_unstable();
    regions.dedup();
    Ok(regions)
}

fn peers(ids: &[String], at: &str) -> Result<Vec<NodeId>, ApiError> {
    if !(1..=PEERS_MAX).contains(&ids.len()) {
        return Err(wrong(
            at,
            &format!("expected 1 to {PEERS_MAX} ids of nodes"),
        ));
    }
    let parse = |id: &String| id.parse::<NodeId>();
    let nodes: Result<Vec<_>, _> = ids.iter().map(parse).collect();
    let mut nodes = nodes.map_err(|_| wrong(at, "an id of a node is 64 hexadecimal digits"))?;
    nodes.sort_unstable();
    nodes.dedup();
    Ok(nodes)
}

fn wrong(at: &str, what: &str) -> ApiError {
    ApiError::invalid(at, "invalid_value", format!("Invalid '{at}': {what}."))
}
