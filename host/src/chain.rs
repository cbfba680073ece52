//! A handler behind another one (`next` in routes.toml): what dispatch does, without the routing.

use std::sync::Arc;

use crate::body::Body;
use crate::guest::{Answer, Guest, Incoming, Next};
use crate::rescue;

/// A guest that other guests call.
#[derive(Debug)]
pub(crate) struct Link {
    /// Its name, for the log.
    pub(crate) name: Arc<str>,
    pub(crate) guest: Arc<Guest>,
}

impl Next for Link {
    fn serve(&self, request: Incoming) -> Answer {
        let (name, guest) = (Arc::clone(&self.name), Arc::clone(&self.guest));
        Box::pin(async move {
            let id = request.id.clone();
            match guest.serve(request).await {
                Ok(response) => response.map(|body| {
                    // The guest in front only learns that it broke off; why, it is not told.
                    Body::observed(body, move |error| rescue::report(error, &name, &id))
                }),
                Err(error) => {
                    rescue::report(&error, &name, &id);
                    rescue::respond(&error, &id)
                }
            }
        })
    }
}
