//! Owns how path and query are taken out of a request: what does not fit is refused with a document, and escaped.
//!
//! The router's own extractors would answer with bare text that repeats what was sent.

use axum::extract::{FromRequestParts, Path, Query as AnyQuery};
use axum::http::request::Parts;
use axum::response::Response;
use serde::de::DeserializeOwned;

use super::request::{Because, Refused};
use super::routes::error;
use crate::escape::escape;
use crate::resolution::Refusal;

/// The query.
pub(super) struct Query<Q>(pub(super) Q);

/// What stands in the path for a `{word}`.
pub(super) struct UrlPath<P>(pub(super) P);

impl<S: Send + Sync, Q: DeserializeOwned> FromRequestParts<S> for Query<Q> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let query = AnyQuery::from_request_parts(parts, state).await;
        query.map(|AnyQuery(query)| Self(query)).map_err(|why| refused("malformed-query", &why.body_text()))
    }
}

impl<S: Send + Sync, P: DeserializeOwned + Send> FromRequestParts<S> for UrlPath<P> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let path = Path::from_request_parts(parts, state).await;
        path.map(|Path(path)| Self(path)).map_err(|why| refused("malformed-path", &why.body_text()))
    }
}

fn refused(code: &str, why: &str) -> Response {
    error(Refused::new(Because::Malformed, Refusal::new(code, format!("the request can't be read: {}", escape(why)))))
}
