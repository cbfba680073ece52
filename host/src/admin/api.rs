//! The admin API, version 1: JSON over HTTP, described by `openapi.json` beside this file.

use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderValue, RETRY_AFTER};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use serde::Serialize;
use serde_json::{Value, json};

use super::access::Right;
use super::diff::diff_of;
use super::logs::Lines;
use super::query::Query;
use super::upload::{self, Broken};
use super::{Admin, Drains, Endless, typed};
use crate::body::Body;
use crate::deployer::{Change, Changed, Refused};
use crate::history::{History, Record};

/// The version of the API, and what its paths begin with.
pub const API_VERSION: &str = "v1";

/// Its description (OpenAPI 3.1).
pub const OPENAPI: &str = include_str!("openapi.json");

/// After so many seconds something that there were too many of may have ended.
const RETRY_AFTER_S: &str = "5";

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Health,
    Description,
    Status,
    Deployments,
    Deployment,
    Diff,
    Routes,
    PutModule,
    PutRoutes,
    Activate,
    Rollback,
    Promote,
    Reload,
    Drain,
    Logs,
}

impl Operation {
    /// Each with its pattern.
    pub(super) const ALL: [(&str, Self); 15] = [
        ("GET /v1/health", Self::Health),
        ("GET /v1/openapi.json", Self::Description),
        ("GET /v1/status", Self::Status),
        ("GET /v1/deployments", Self::Deployments),
        ("GET /v1/deployments/{number}", Self::Deployment),
        ("GET /v1/deployments/{number}/diff/{other}", Self::Diff),
        ("GET /v1/deployments/{number}/routes", Self::Routes),
        ("PUT /v1/handlers/{name}/module", Self::PutModule),
        ("PUT /v1/routes", Self::PutRoutes),
        ("POST /v1/deployments/{number}/activate", Self::Activate),
        ("POST /v1/rollback", Self::Rollback),
        ("POST /v1/promote", Self::Promote),
        ("POST /v1/reload", Self::Reload),
        ("POST /v1/drain", Self::Drain),
        ("GET /v1/logs", Self::Logs),
    ];

    pub(super) fn needs(self) -> Right {
        match self {
            Self::Health | Self::Description => Right::Read,
            _ => Right::Operate,
        }
    }
}

/// Why there is no answer, or another one than was asked for.
struct Failed(StatusCode, Value);

impl Failed {
    fn because(status: StatusCode, message: impl Into<String>) -> Self {
        Self(status, json!({ "message": message.into() }))
    }
}

impl std::convert::From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Problems(problems) => {
                let message = "the deployment is not good; nothing has changed";
                Self(StatusCode::UNPROCESSABLE_ENTITY, json!({ "message": message, "problems": problems }))
            }
            Refused::Because(why) => Self::because(StatusCode::CONFLICT, why),
        }
    }
}

impl std::convert::From<std::io::Error> for Failed {
    fn from(error: std::io::Error) -> Self {
        Self::because(StatusCode::INTERNAL_SERVER_ERROR, format!("the state folder: {error}"))
    }
}

/// A request that is not answered.
pub(super) fn refusal(status: StatusCode, message: &str) -> Response<Body> {
    let mut response = answer(status, &json!({ "error": { "message": message } }));
    if status == StatusCode::UNAUTHORIZED {
        let name = http::header::WWW_AUTHENTICATE;
        response.headers_mut().insert(name, HeaderValue::from_static("Bearer realm=\"wasmux\""));
    }
    response
}

fn answer(status: StatusCode, content: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_string_pretty(content).unwrap_or_default();
    let mut response = typed("application/json", text + "\n");
    *response.status_mut() = status;
    response
}

type Answer = Result<Response<Body>, Failed>;

fn well(content: &impl Serialize) -> Answer {
    Ok(answer(StatusCode::OK, content))
}

impl Admin {
    /// Does what was asked for; the values are those of the pattern's wildcards.
    pub(super) async fn operate(
        &self,
        operation: Operation,
        values: Vec<String>,
        mut request: Request<Incoming>,
    ) -> Response<Body> {
        // Nothing behind this has a use for it.
        request.headers_mut().remove(AUTHORIZATION);
        let done = self.done(operation, &values, request).await;
        done.unwrap_or_else(|Failed(status, error)| {
            let mut response = answer(status, &json!({ "error": error }));
            if status == StatusCode::SERVICE_UNAVAILABLE {
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_S));
            }
            response
        })
    }

    async fn done(&self, operation: Operation, values: &[String], request: Request<Incoming>) -> Answer {
        let query = Query::of(&request);
        let value = |index: usize| values.get(index).map(String::as_str).unwrap_or_default();
        match operation {
            Operation::Health => {
                well(&json!({ "status": if self.draining.get() { "draining" } else { "ready" } }))
            }
            Operation::Description => Ok(typed("application/json", OPENAPI)),
            Operation::Status => well(&self.status()),
            Operation::Deployments => self.deployments().await,
            Operation::Deployment => {
                let number = number(value(0))?;
                well(&self.look(move |history| record_of(history, number)).await?)
            }
            Operation::Routes => {
                let number = number(value(0))?;
                let text = self.look(move |history| Ok(history.text(&record_of(history, number)?)?)).await?;
                Ok(typed("application/toml", text))
            }
            Operation::Diff => {
                let (from, to) = (number(value(0))?, number(value(1))?);
                let diff = move |history: &History| {
                    Ok(diff_of(history, &record_of(history, from)?, &record_of(history, to)?)?)
                };
                well(&self.look(diff).await?)
            }
            Operation::PutModule => self.put_module(value(0).to_owned(), &query, request).await,
            Operation::PutRoutes => self.put_routes(request).await,
            Operation::Activate => self.change(Change::Rollback(Some(number(value(0))?))).await,
            Operation::Rollback => self.change(Change::Rollback(None)).await,
            Operation::Promote => {
                let of = query.get("deployment").map(number).transpose()?;
                self.change(Change::Promote { of }).await
            }
            Operation::Reload => self.change(Change::Reload).await,
            Operation::Drain => {
                let mut response = answer(StatusCode::ACCEPTED, &json!({ "status": "draining" }));
                response.extensions_mut().insert(Drains);
                Ok(response)
            }
            Operation::Logs => self.follow(&query),
        }
    }

    fn history(&self) -> Result<&History, Failed> {
        self.deployer.maker().history().map_err(|why| Failed::because(StatusCode::CONFLICT, why))
    }

    /// Looks into the history, which takes the time that a disk takes, and a large difference too.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&History) -> Result<T, Failed> + Send + 'static,
    ) -> Result<T, Failed> {
        let history = self.history()?.clone();
        let looked = tokio::task::spawn_blocking(move || look(&history)).await;
        looked.unwrap_or_else(|error| Err(std::io::Error::other(error).into()))
    }

    async fn deployments(&self) -> Answer {
        let record = self.deployer.record();
        if self.deployer.maker().history.is_none() {
            return well(&json!({ "in_force": record.number, "deployments": [&*record] }));
        }
        let deployments = self.look(|history| Ok(history.list()?)).await?;
        well(&json!({ "in_force": record.number, "deployments": deployments }))
    }

    async fn change(&self, change: Change) -> Answer {
        let Changed { record, before, took, fixed, canary_ended } = self.deployer.change(change).await?;
        well(&json!({
            "deployment": record,
            "before": before,
            "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            "needs_restart": fixed,
            "canary_ended": canary_ended,
        }))
    }

    /// What `take` makes of the body, which has to wait for nobody.
    async fn upload<T>(
        &self,
        request: Request<Incoming>,
        take: impl AsyncFnOnce(&mut Incoming) -> Result<T, Broken>,
    ) -> Result<T, Failed> {
        let mut body = request.into_body();
        let taken = match self.uploads.try_acquire() {
            Ok(_permit) => take(&mut body).await.map_err(|broken| match broken {
                Broken::TooLarge(max) => Failed::because(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    format!("the upload is larger than {} MiB", max >> 20),
                ),
                Broken::Off => Failed::because(StatusCode::BAD_REQUEST, "the upload broke off"),
                Broken::Disk(error) => error.into(),
            }),
            Err(_) => {
                let message =
                    format!("{} uploads are under way, which is the most; try again", upload::UPLOADS_MAX);
                Err(Failed::because(StatusCode::SERVICE_UNAVAILABLE, message))
            }
        };
        if taken.is_err() {
            upload::discard(body).await;
        }
        taken
    }

    async fn put_routes(&self, request: Request<Incoming>) -> Answer {
        let bytes = self.upload(request, async |body| upload::read(body).await).await?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Failed::because(StatusCode::BAD_REQUEST, "routes.toml has to be UTF-8"))?;
        self.change(Change::Routes(text)).await
    }

    async fn put_module(&self, handler: String, query: &Query, request: Request<Incoming>) -> Answer {
        let bad = |message: &str| Failed::because(StatusCode::BAD_REQUEST, message);
        let canary = query.canary().map_err(|why| bad(&why))?;
        // What is certain to be refused is not read first.
        let refused = self.deployer.is_open().and_then(|()| self.deployer.knows(&handler));
        if let Err(refused) = refused {
            upload::discard(request.into_body()).await;
            return Err(refused.into());
        }
        let form = match query.get("form") {
            None => "wasm".to_owned(),
            Some(form) if ["wasm", "wat"].contains(&form) => form.to_owned(),
            Some(other) => return Err(bad(&format!("`form` is wasm or wat, not `{other}`"))),
        };
        let history = self.history()?.clone();
        let store =
            async |body: &mut Incoming| upload::store(body, history.arriving().map_err(Broken::Disk)?).await;
        let arrived = self.upload(request, store).await?;
        if arrived.is_empty() {
            return Err(bad("the upload is empty; it should be a module"));
        }
        if arrived.begins_with(upload::COMPILED) {
            return Err(bad(
                "compiled code would run outside of the sandbox: upload the module that it was made from; a .cwasm \
                            can be named in routes.toml",
            ));
        }
        let kept = tokio::task::spawn_blocking(move || history.keep_arrived(arrived, &form)).await;
        let module = kept.unwrap_or_else(|error| Err(std::io::Error::other(error)))?;
        self.change(Change::Deploy { handler, module, canary }).await
    }

    fn follow(&self, query: &Query) -> Answer {
        let level = query.get("level").unwrap_or("trace");
        let level = level.parse().map_err(|_| {
            let message = format!("`level` is error, warn, info, debug or trace, not `{level}`");
            Failed::because(StatusCode::BAD_REQUEST, message)
        })?;
        let follows = matches!(query.get("follow"), Some("1" | "true"));
        // What is there already is soon told.
        let permit = follows.then(|| Arc::clone(&self.followers).try_acquire_owned()).transpose();
        let Ok(permit) = permit else {
            return Err(Failed::because(StatusCode::SERVICE_UNAVAILABLE, "too many follow the log"));
        };
        let follow = self.logs.follow(follows);
        let handler = query.get("handler").map(str::to_owned);
        let lines = Lines { follow, handler, level, _permit: permit };
        let mut response = Response::new(Body::other(lines));
        response.extensions_mut().insert(Endless);
        let content_type = HeaderValue::from_static("application/x-ndjson");
        response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
        Ok(response)
    }
}

fn record_of(history: &History, number: u64) -> Result<Record, Failed> {
    let gone = || Failed::because(StatusCode::NOT_FOUND, format!("deployment {number} is not kept"));
    history.record(number)?.ok_or_else(gone)
}

fn number(text: &str) -> Result<u64, Failed> {
    let bad = |_| Failed::because(StatusCode::BAD_REQUEST, format!("`{text}` is no number of a deployment"));
    text.parse().map_err(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_described() {
        let description: Value = serde_json::from_str(OPENAPI).unwrap();
        let paths = description["paths"].as_object().unwrap();
        for (pattern, operation) in Operation::ALL {
            let (method, path) = pattern.split_once(' ').unwrap();
            let responses = &paths[path][method.to_lowercase()]["responses"];
            assert!(responses.is_object(), "{pattern} is not described");
            assert_eq!(responses["403"].is_object(), operation.needs() == Right::Operate, "{pattern}");
        }
        let described = paths.values().map(|operations| operations.as_object().unwrap().len());
        assert_eq!(described.sum::<usize>(), Operation::ALL.len());
    }
}
