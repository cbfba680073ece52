//! Routes that a component brings along, for hosts that have none: see the crate's documentation, *Other hosts*.

use crate::{Request, ResponseWriter, Result, ServeMux};

/// A mux with each of these patterns, one a line, in front of `handler`; `None` when there are none.
///
/// A pattern that is not valid, or conflicts with an earlier one, is logged and left out.
pub(crate) fn mux(
    patterns: &str,
    handler: fn(&mut ResponseWriter, &mut Request) -> Result<()>,
) -> Option<ServeMux> {
    let mut mux = None;
    for pattern in patterns.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Err(error) = mux.get_or_insert_with(ServeMux::new).handle(pattern, handler) {
            log::error!("the route \"{pattern}\" is left out: {error}");
        }
    }
    mux
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::Recorder;

    fn show(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
        Ok(write!(w, "{} {}", r.pattern(), r.path_value("name"))?)
    }

    #[test]
    fn routes_give_path_values() {
        let mux = mux("GET /hello/{name}\n\n  /users/\n", show).expect("there are patterns");
        let get = |path: &str| Recorder::serve(&mux, Request::get(path));
        assert_eq!(get("/hello/Ann").text(), "GET /hello/{name} Ann");
        assert_eq!(get("/users/1").text(), "/users/ ");
        assert_eq!(get("/").status(), 404);
        assert_eq!(Recorder::serve(&mux, Request::post("/hello/Ann")).status(), 405);
    }

    #[test]
    fn wrong_routes_are_left_out() {
        let mux = mux("GET /a/{x}\nnonsense\nGET /a/{y}", show).expect("there are patterns");
        assert_eq!(Recorder::serve(&mux, Request::get("/a/1")).text(), "GET /a/{x} ");
    }

    #[test]
    fn no_routes_are_no_mux() {
        assert!(mux("", show).is_none() && mux(" \n", show).is_none());
    }
}
