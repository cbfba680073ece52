//! The admin API, version 1: JSON over HTTP, described by `openapi.json` beside this file.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::{AUTHORIZATION, HeaderValue};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde::Serialize;
use serde_json::{Value, json};

use super::access::Right;
use super::diff::diff_of;
use super::logs::Lines;
use super::{Admin, typed, upload};
use crate::body::Body;
use crate::deployer::{CanaryWanted, Change, Changed, Refused};
use crate::history::{History, Record, Sticky};

/// The version of the API, and what its paths begin with.
pub const API_VERSION: &str = "v1";

/// Its description (OpenAPI 3.1).
pub const OPENAPI: &str = include_str!("openapi.json");

/// What wasmtime's compiled code begins with: it is an ELF file, whatever its name is.
const COMPILED: &[u8] = b"\x7fELF";

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
        done.unwrap_or_else(|Failed(status, error)| answer(status, &json!({ "error": error })))
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
            Operation::PutRoutes => {
                let bytes = self.body(request, upload::ROUTES_BYTES_MAX).await?;
                let text = String::from_utf8(bytes)
                    .map_err(|_| Failed::because(StatusCode::BAD_REQUEST, "routes.toml has to be UTF-8"))?;
                self.change(Change::Routes(text)).await
            }
            Operation::Activate => self.change(Change::Rollback(Some(number(value(0))?))).await,
            Operation::Rollback => self.change(Change::Rollback(None)).await,
            Operation::Promote => {
                let of = query.get("deployment").map(number).transpose()?;
                self.change(Change::Promote { of }).await
            }
            Operation::Reload => self.change(Change::Reload).await,
            Operation::Drain => {
                let _ = self.drain.try_send(()); // one is enough
                Ok(answer(StatusCode::ACCEPTED, &json!({ "status": "draining" })))
            }
            Operation::Logs => self.follow(&query),
        }
    }

    fn history(&self) -> Result<&History, Failed> {
        let missing = || Failed::because(StatusCode::CONFLICT, "this program keeps no deployments");
        self.deployer.maker().history.as_ref().ok_or_else(missing)
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
        let deployments = self.look(|history| {
            let numbers = history.numbers()?.into_iter().rev();
            Ok(numbers.filter_map(|number| history.shown(number)).collect::<Vec<_>>())
        });
        well(&json!({ "in_force": record.number, "deployments": deployments.await? }))
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

    async fn body(&self, request: Request<Incoming>, bytes_max: usize) -> Result<Vec<u8>, Failed> {
        upload::read(request.into_body(), bytes_max).await.map_err(|broken| match broken {
            upload::Broken::TooLarge(max) => Failed::because(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the upload is larger than {} MiB", max >> 20),
            ),
            upload::Broken::Off => Failed::because(StatusCode::BAD_REQUEST, "the upload broke off"),
        })
    }

    async fn put_module(&self, handler: String, query: &Query, request: Request<Incoming>) -> Answer {
        // What is certain to be refused is not read first.
        self.deployer.is_open()?;
        self.deployer.knows(&handler)?;
        let canary = query.canary()?;
        let form = match query.get("form") {
            None => "wasm".to_owned(),
            Some(form) if ["wasm", "wat", "cwasm"].contains(&form) => form.to_owned(),
            Some(other) => {
                let message = format!("`form` is wasm or wat, not `{other}`");
                return Err(Failed::because(StatusCode::BAD_REQUEST, message));
            }
        };
        let bytes = self.body(request, upload::MODULE_BYTES_MAX).await?;
        if bytes.is_empty() {
            return Err(Failed::because(
                StatusCode::BAD_REQUEST,
                "the upload is empty; it should be a module",
            ));
        }
        if bytes.starts_with(COMPILED) {
            let message = "compiled code would run outside of the sandbox: upload the module that it was made from; a .cwasm \
                           can be named in routes.toml";
            return Err(Failed::because(StatusCode::BAD_REQUEST, message));
        }
        let history = self.history()?.clone();
        let kept = tokio::task::spawn_blocking(move || history.keep(&bytes, &form)).await;
        let module = kept.unwrap_or_else(|error| Err(std::io::Error::other(error)))?;
        self.change(Change::Deploy { handler, module, canary }).await
    }

    fn follow(&self, query: &Query) -> Answer {
        let follows = matches!(query.get("follow"), Some("1" | "true"));
        // What is there already is soon told.
        let permit = follows.then(|| Arc::clone(&self.followers).try_acquire_owned()).transpose();
        let Ok(permit) = permit else {
            return Err(Failed::because(StatusCode::SERVICE_UNAVAILABLE, "too many follow the log"));
        };
        let follow = self.logs.follow(follows);
        let handler = query.get("handler").map(str::to_owned);
        let lines = Lines { follow, handler, _permit: permit };
        let mut response = Response::new(Body::other(lines));
        let content_type = HeaderValue::from_static("application/x-ndjson");
        response.headers_mut().insert(http::header::CONTENT_TYPE, content_type);
        Ok(response)
    }

    fn status(&self) -> Value {
        let (record, deployment) = (self.deployer.record(), self.deployer.deployment());
        let shares = self.deployer.maker().engine.ledger().shares();
        let handlers: Vec<_> = record
            .modules
            .iter()
            .map(|(name, module)| {
                let share = shares.iter().find(|(known, _)| **known == **name).map(|(_, share)| share);
                json!({ "handler": name, "version": module.version(), "use": share.map(|share| share.used()) })
            })
            .collect();
        let servers: BTreeMap<_, _> = deployment
            .routes()
            .map(|(server, routes)| {
                let route = |(pattern, handler)| json!({ "pattern": pattern, "handler": handler });
                (server.to_owned(), routes.into_iter().map(route).collect::<Vec<_>>())
            })
            .collect();
        let canary = record.canary.as_ref().zip(deployment.counted()).map(|(canary, counted)| {
            let [stable, tried] = counted.map(|counted| {
                json!({ "requests": counted.requests, "failures": counted.failures,
                        "given_up": counted.given_up, "p95_ms": counted.p95().as_secs_f64() * 1e3 })
            });
            json!({ "handler": canary.handler, "version": canary.module.version(),
                    "share_percent": f64::from(canary.share) / 100.0, "stable": stable, "canary": tried })
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "process": std::process::id(),
            "status": if self.draining.get() { "draining" } else { "ready" },
            "deployment": &*record,
            "handlers": handlers,
            "servers": servers,
            "canary": canary,
        })
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

/// The parameters of a request.
struct Query(Vec<(String, String)>);

impl Query {
    fn of<B>(request: &Request<B>) -> Self {
        let decode =
            |text: &str| percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned();
        let pairs = request.uri().query().unwrap_or_default().split('&');
        Self(pairs.filter_map(|pair| pair.split_once('=')).map(|(k, v)| (decode(k), decode(v))).collect())
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn canary(&self) -> Result<Option<CanaryWanted>, Failed> {
        let bad = |message: String| Failed::because(StatusCode::BAD_REQUEST, message);
        let Some(share) = self.get("canary") else { return Ok(None) };
        let percent =
            crate::config::parse_percent(share).filter(|percent| *percent > 0.0 && *percent <= 100.0);
        let Some(percent) = percent else {
            return Err(bad(format!("`canary`: `{share}` is not a percentage up to 100% such as 5%")));
        };
        let sticky = match self.get("sticky").map(|text| text.split_once(':').unwrap_or((text, ""))) {
            None | Some(("client", "")) => Sticky::Client,
            Some(("header", name)) if http::HeaderName::from_bytes(name.as_bytes()).is_ok() => {
                Sticky::Header(name.to_owned())
            }
            Some(("cookie", name)) if !name.is_empty() => Sticky::Cookie(name.to_owned()),
            Some(_) => return Err(bad("`sticky` is client, header:NAME or cookie:NAME".to_owned())),
        };
        let seconds = |text: &str| {
            text.parse().map_err(|_| bad(format!("`promote_after`: `{text}` is no number of seconds")))
        };
        let promote_after_s = self.get("promote_after").map(seconds).transpose()?;
        Ok(Some(CanaryWanted { share: (percent * 100.0).round() as u32, sticky, promote_after_s }))
    }
}
