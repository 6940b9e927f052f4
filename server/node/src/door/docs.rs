//! The OpenAPI document and the page that renders it. Both come with the binary and load nothing
//! from anywhere else.

use std::sync::Arc;

use axum::Router;
use kwaainet_openapi::{AnthropicErrorBody, CouchError, ErrorBody, OllamaError, ProblemDetails};
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, ObjectBuilder, OpenApi,
    OpenApiBuilder, PathItem, Ref, RefOr, Required, Response, ResponseBuilder, Type,
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::auth::{X_API_KEY, is_public};
use super::dialect::Dialect;
use super::{App, constraints, routes};

/// Where the document is served.
const DOCUMENT_PATH: &str = "/openapi.json";

const NO_MODEL: &str = "There is no such model.";
/// What a 404 says on other routes, by the beginning of their paths.
const NOT_FOUND: [(&str, &str); 14] = [
    ("/couch", NO_THING),
    ("/v1/storage", NO_THING),
    ("/v1/audit", NO_THING),
    (
        "/emissions",
        "There is nothing known of this place and time.",
    ),
    ("/v1/auth", NO_THING),
    ("/v1/credentials", NO_THING),
    ("/v1/identity", NO_THING),
    ("/v1/batches", NO_THING),
    ("/v1/carbon", NO_THING),
    ("/v1/conversations", NO_THING),
    ("/v1/files", NO_THING),
    (
        "/v1/responses",
        "There is no such thing here: no such response, or none of what the request names.",
    ),
    ("/v1/rewards", NO_THING),
    ("/v1/vector_stores", NO_THING),
];
const NO_THING: &str = "There is no such thing here.";

/// The errors that every operation may answer, by status.
const ERRORS: [(&str, &str); 11] = [
    ("400", "The request is wrong; `param` says where."),
    ("401", "No key was given, or it is no good."),
    (
        "403",
        "The key may not do this, or the request comes from elsewhere.",
    ),
    ("404", NO_MODEL),
    ("408", "The request's body did not come in time."),
    ("413", "The request's body is too large."),
    ("429", "The key has too much under way; see Retry-After."),
    ("500", "The node failed."),
    ("502", "An upstream server failed."),
    ("503", "The node is full or shutting down; see Retry-After."),
    ("504", "An upstream server did not answer in time."),
];

/// The document as it is served.
pub fn document() -> OpenApi {
    let (_, mut document) = routes().split_for_parts();
    // What may hold slashes is marked for the router; the document has no such mark.
    let paths = std::mem::take(&mut document.paths.paths).into_iter();
    let paths = paths.map(|(path, item)| (path.replace("{*", "{"), item));
    document.paths.paths = paths.collect();
    for (path, item) in &mut document.paths.paths {
        if !is_public(path) {
            let dialect = Dialect::of(path);
            let found = NOT_FOUND.iter().find(|(root, _)| path.starts_with(root));
            let not_found = found.map_or(NO_MODEL, |(_, description)| description);
            operations(item).for_each(|operation| add_common(operation, dialect, not_found));
        }
        if constraints::HEEDED_BY.contains(&path.as_str()) {
            operations(item).for_each(add_demands);
        }
    }
    document
}

/// The document before the routes are in it.
pub(crate) fn base() -> OpenApi {
    let licence = LicenseBuilder::new()
        .name("MIT")
        .identifier(Some("MIT"))
        .build();
    let about = "A node that a person owns: OpenAI's API from the node's own engine. Errors have \
                 OpenAI's shape, under /v1/messages and /api the shape of Anthropic and Ollama, and under \
                 /emissions that of RFC 9457.";
    let key = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("kw_<id>_<secret>")
        .description(Some(
            "Needed once the node's owner has made a key. A session's token (`kws_<id>_<secret>`) or a capability \
             (`biscuit:...`) may stand in its place.",
        ))
        .build();
    let x_api_key = ApiKeyValue::with_description(
        X_API_KEY.as_str(),
        "The same key where clients of Anthropic put it.",
    );
    let mut schemas = vec![("ErrorBody".to_owned(), ErrorBody::schema())];
    ErrorBody::schemas(&mut schemas);
    for (name, schema) in [
        ("AnthropicErrorBody", AnthropicErrorBody::schema()),
        ("OllamaError", OllamaError::schema()),
        ("CouchError", CouchError::schema()),
        ("ProblemDetails", ProblemDetails::schema()),
    ] {
        schemas.push((name.to_owned(), schema));
    }
    AnthropicErrorBody::schemas(&mut schemas);
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("KwaaiNet node")
                .version(crate::VERSION)
                .description(Some(about))
                .license(Some(licence))
                .build(),
        )
        .components(Some(
            ComponentsBuilder::new()
                .schemas_from_iter(schemas)
                .security_scheme("key", SecurityScheme::Http(key))
                .security_scheme(
                    "x_api_key",
                    SecurityScheme::ApiKey(ApiKey::Header(x_api_key)),
                )
                .build(),
        ))
        .build()
}

/// The document and its page.
pub(crate) fn routes_of_docs() -> Router<Arc<App>> {
    SwaggerUi::new(super::auth::PUBLIC_BELOW[0])
        .config(Config::default().use_base_layout().validator_url("none"))
        .url(DOCUMENT_PATH, document())
        .into()
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
    ]
    .into_iter()
    .flatten()
}

fn add_common(operation: &mut Operation, dialect: Dialect, not_found: &str) {
    // Without a key of its owner's, a node on loopback is open to him.
    let schemes = ["key", "x_api_key"].map(|scheme| SecurityRequirement::new(scheme, [""; 0]));
    operation.security = Some(
        [SecurityRequirement::default()]
            .into_iter()
            .chain(schemes)
            .collect(),
    );
    for (status, description) in ERRORS {
        let description = if status == "404" {
            not_found
        } else {
            description
        };
        let status = match (dialect, status) {
            // Anthropic has a status of its own for it.
            (Dialect::Anthropic, "503") => "529",
            (_, status) => status,
        };
        operation
            .responses
            .responses
            .entry(status.to_owned())
            .or_insert_with(|| RefOr::T(error(status, description, dialect)));
    }
}

/// The headers that say where a request may be served.
fn add_demands(operation: &mut Operation) {
    let headers = constraints::HEADERS.map(|(name, description)| {
        ParameterBuilder::new()
            .name(format!("{}{name}", constraints::PREFIX))
            .parameter_in(ParameterIn::Header)
            .required(Required::False)
            .description(Some(description))
            .schema(Some(demand(name)))
            .build()
    });
    let parameters = operation.parameters.get_or_insert_default();
    parameters.extend(headers.map(RefOr::T));
}

/// What a header says, as precisely as a schema can.
fn demand(header: &str) -> RefOr<Schema> {
    let named = |name| RefOr::Ref(Ref::from_schema_name(name));
    let plain = |kind| ObjectBuilder::new().schema_type(kind);
    let schema = match header {
        "prefer" => return named("KwaaiPrefer"),
        "tier-min" => return named("KwaaiTier"),
        "data-class" => return named("KwaaiDataClass"),
        "inexact" | "carbon" => plain(Type::Boolean),
        "max-gco2-per-1k" => plain(Type::Number).minimum(Some(0)),
        "max-price" | "max-ttft-ms" => plain(Type::Integer).minimum(Some(0)),
        "peers" => plain(Type::String).pattern(Some("^[0-9a-f]{64}(,[0-9a-f]{64})*$")),
        _ => plain(Type::String).pattern(Some("^[a-z0-9-]+(,[a-z0-9-]+)*$")),
    };
    RefOr::T(Schema::Object(schema.build()))
}

fn error(status: &str, description: &str, dialect: Dialect) -> Response {
    let schema = Ref::from_schema_name(match dialect {
        Dialect::OpenAi => "ErrorBody",
        Dialect::Anthropic => "AnthropicErrorBody",
        Dialect::Ollama => "OllamaError",
        Dialect::CouchDb => "CouchError",
        Dialect::Emissions => "ProblemDetails",
    });
    let content = ContentBuilder::new().schema(Some(schema)).build();
    let response = ResponseBuilder::new().description(description).content(
        match dialect {
            Dialect::Emissions => "application/problem+json",
            _ => "application/json",
        },
        content,
    );
    let response = match status {
        "401" => response.header("WWW-Authenticate", header(Type::String, "`Bearer`.")),
        "429" | "503" | "529" => {
            let description = "Seconds after which it may go better.";
            response.header("Retry-After", header(Type::Integer, description))
        }
        _ => response,
    };
    response.build()
}

fn header(kind: Type, description: &str) -> Header {
    let schema = ObjectBuilder::new().schema_type(kind).build();
    HeaderBuilder::new()
        .schema(Some(schema))
        .description(Some(description))
        .build()
}
