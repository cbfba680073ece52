//! The contracts between host and guests. Siblings: none imports another, what they share is in `components`,
//! `exchange`, `outbox`, `pace` and `state`. Which one a guest keeps, its bytes say at load.

use std::sync::Arc;

use super::artifact::{Artifact, Code, LoadError};
use super::components::{Linked, Standard, check_size};
use super::engine::GuestEngine;
use super::exchange::Exchange;
use super::images::Held;
use super::limits::Limits;
use super::state::{Common, Core, State as _};
use crate::error::Error;

pub(super) mod p2;
pub(super) mod p3;
pub(super) mod serve_http;

/// Why a guest's work ended badly.
#[derive(Debug)]
pub(super) enum Stop {
    /// It trapped, or wasmtime gave up on it.
    Trap(wasmtime::Error),
    /// It ran, but there is no response that could be sent.
    Fault(Error),
}

impl From<wasmtime::Error> for Stop {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

/// A handler's code, checked and linked with what the host provides.
pub(super) enum Abi {
    /// A core module with our contract.
    ServeHttp(Arc<serve_http::Linked>),
    /// A component that exports `wasi:http/incoming-handler` 0.2.
    P2(Arc<Linked>),
    /// A component that exports `wasi:http/handler` 0.3.
    P3(Arc<Linked>),
}

/// An instance with its store. It comes to life with its first request, so that what goes wrong in doing so is that
/// request's failure.
pub(super) enum Instance {
    ServeHttp(serve_http::Instance),
    P2(p2::Instance),
    P3(p3::Instance),
}

impl Abi {
    /// `restores`: whether instances are to be put back, as far as that is possible, into the state that they were made in.
    ///
    /// # Errors
    /// With a sentence for everything that the host cannot provide, or that the guest does not export as it must.
    pub(super) fn link(
        engine: &GuestEngine,
        artifact: &Artifact,
        limits: &Limits,
        restores: bool,
    ) -> Result<Self, LoadError> {
        if let Code::P2(code) | Code::P3(code) = &artifact.code {
            check_size(code, engine.instances(), limits)?;
        }
        Ok(match &artifact.code {
            Code::Module(module) => {
                Self::ServeHttp(Arc::new(serve_http::Linked::new(engine, module, limits, restores)?))
            }
            Code::P2(code) => Self::P2(Arc::new(Linked::new(code, Standard::P2, p2::fits)?)),
            Code::P3(code) => Self::P3(Arc::new(Linked::new(code, Standard::P3, p3::fits)?)),
        })
    }

    /// Whether instances of this code can be put back into the state that they were made in.
    pub(super) fn can_restore(artifact: &Artifact) -> bool {
        match &artifact.code {
            Code::Module(module) => serve_http::can_restore(module),
            Code::P2(_) | Code::P3(_) => false,
        }
    }

    /// The code itself.
    pub(super) fn code(&self) -> Held {
        match self {
            Self::ServeHttp(linked) => Held::Module(linked.module().clone()),
            Self::P2(linked) | Self::P3(linked) => Held::Component(linked.component().clone()),
        }
    }

    /// Makes an instance, of which nothing has run yet.
    pub(super) fn instance(&self, common: &Arc<Common>) -> Instance {
        match self {
            Self::ServeHttp(linked) => Instance::ServeHttp(serve_http::Instance::new(linked, common)),
            Self::P2(linked) => Instance::P2(p2::Instance::new(linked, common)),
            Self::P3(linked) => Instance::P3(p3::Instance::new(linked, common)),
        }
    }
}

impl Instance {
    /// Hands it its next request.
    pub(super) fn begin(&mut self, exchange: Box<Exchange>) {
        // Ticks have passed while a warm instance waited, which are not this request's.
        match self {
            Self::ServeHttp(instance) => {
                instance.store.set_epoch_deadline(1);
                instance.store.data_mut().begin(exchange);
            }
            Self::P2(instance) => {
                instance.store.set_epoch_deadline(1);
                instance.store.data_mut().begin(exchange);
            }
            Self::P3(instance) => {
                instance.store.set_epoch_deadline(1);
                instance.store.data_mut().begin(exchange);
            }
        }
    }

    /// Runs the guest for the request it was handed, until all of its work is done.
    ///
    /// # Errors
    /// After one of them the instance is of no further use.
    pub(super) async fn serve(&mut self) -> Result<(), Stop> {
        match self {
            Self::ServeHttp(instance) => instance.serve().await,
            Self::P2(instance) => instance.serve().await,
            // Much larger than the others, all of which would have to make room for it.
            Self::P3(instance) => Box::pin(instance.serve()).await,
        }
    }

    /// Whether it is fit for another request, after one that it has served without an error.
    pub(super) fn may_serve_again(&self) -> bool {
        match self {
            Self::ServeHttp(instance) => instance.may_serve_again(),
            Self::P2(instance) => instance.may_serve_again(),
            Self::P3(_) => true,
        }
    }

    /// Puts it back into the state that it was made in; says whether that could be done. If not, it is of no further use.
    pub(super) fn restore(&mut self) -> bool {
        match self {
            Self::ServeHttp(instance) => instance.restore(),
            Self::P2(_) | Self::P3(_) => false,
        }
    }

    /// Lets go of the request that it has served.
    pub(super) fn rest(&mut self) {
        let core = self.core();
        (core.exchange, core.origin) = (None, None);
        core.leave_databases();
        if let Self::ServeHttp(instance) = self {
            instance.store.data_mut().end_calls();
        }
    }

    pub(super) fn core(&mut self) -> &mut Core {
        match self {
            Self::ServeHttp(instance) => instance.store.data_mut().core(),
            Self::P2(instance) => instance.store.data_mut().core(),
            Self::P3(instance) => instance.store.data_mut().core(),
        }
    }
}
