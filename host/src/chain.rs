//! A handler behind another one (`next` in routes.toml): what dispatch does, without the routing.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use http::Response;

use crate::body::Body;
use crate::error::{Broken, Error};
use crate::guest::{Answer, Guest, Incoming, Next};
use crate::rescue;
use crate::stats::HandlerStats;

/// A handler that guests call.
#[derive(Debug)]
pub(crate) struct Link {
    /// Its name, and what is counted of it.
    pub(crate) stats: Arc<HandlerStats>,
    pub(crate) to: Arc<dyn Callee>,
}

/// What a handler answers, or why it does not.
pub(crate) type Answered = Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send>>;

/// What can stand behind a guest.
pub(crate) trait Callee: fmt::Debug + Send + Sync {
    fn call(self: Arc<Self>, request: Incoming) -> Answered;
}

impl Callee for Guest {
    fn call(self: Arc<Self>, request: Incoming) -> Answered {
        Box::pin(self.serve(request))
    }
}

impl Callee for Broken {
    fn call(self: Arc<Self>, _: Incoming) -> Answered {
        Box::pin(std::future::ready(Err((&*self).into())))
    }
}

impl Next for Link {
    fn serve(&self, request: Incoming) -> Answer {
        let (stats, to) = (Arc::clone(&self.stats), Arc::clone(&self.to));
        Box::pin(async move {
            let id = request.id.clone();
            match to.call(request).await {
                Ok(response) => response.map(|body| {
                    // The guest in front only learns that it broke off; why, it is not told.
                    Body::observed(body, move |error| {
                        stats.failed(error.kind());
                        rescue::report(error, &stats.name, &id);
                    })
                }),
                Err(error) => {
                    stats.failed(error.kind());
                    rescue::report(&error, &stats.name, &id);
                    rescue::respond(&error, &id)
                }
            }
        })
    }
}
