//! Forms: the parameters of a query and of an urlencoded body together.

use std::io::Read;

use http::{Method, StatusCode};

use crate::{
    BodyError, Error, Request, Result,
    escape::into_text,
    values::{Values, ValuesError},
};

/// Largest urlencoded body that [`Request::form`] reads, unless [`Request::max_bytes`] was called.
const FORM_BYTES_MAX: u64 = 10 << 20;

/// The parsed form, as much of it as was valid.
#[derive(Default)]
pub(crate) struct Form {
    values: Values,
    /// How many of them, the first, came in the body.
    from_body: usize,
    error: Option<FormError>,
}

#[derive(Clone, Copy)]
enum FormError {
    /// The body is longer than [`FORM_BYTES_MAX`].
    TooLarge,
    Body(BodyError),
    Values(ValuesError),
}

impl Request {
    /// The parameters of the body, then those of the query; `ParseForm` and `Form`.
    ///
    /// The body counts for POST, PUT and PATCH with `Content-Type: application/x-www-form-urlencoded`, and is then
    /// read whole: up to 10 MiB, or the limit set with [`max_bytes`](Self::max_bytes). For `multipart/form-data` see
    /// [`multipart`](Self::multipart).
    ///
    /// ```
    /// # use std::io::Write;
    /// # use wasmux_sdk::{Recorder, Request, ResponseWriter};
    /// let handler = |w: &mut ResponseWriter, r: &mut Request| {
    ///     let form = r.form()?;
    ///     Ok(write!(w, "{:?}", form.get_all("tag").collect::<Vec<_>>())?)
    /// };
    /// let request = Request::post("/?tag=c").form(&[("tag", "a"), ("tag", "b")]);
    /// assert_eq!(Recorder::serve(handler, request).text(), r#"["a", "b", "c"]"#);
    /// ```
    ///
    /// # Errors
    /// `413` for a body that is too large, `400` for one that is broken or for parameters that are not valid. What
    /// was valid can still be had with [`form_value`](Self::form_value), as in net/http.
    pub fn form(&mut self) -> Result<&Values> {
        let form = self.parsed_form();
        match form.error {
            None => Ok(&form.values),
            Some(FormError::TooLarge) => {
                Err(Error::new(StatusCode::PAYLOAD_TOO_LARGE, "http: POST too large")) // net/http's words
            }
            Some(FormError::Body(error)) => Err(std::io::Error::from(error).into()),
            Some(FormError::Values(error)) => Err(Error::bad_request("invalid form").caused_by(error)),
        }
    }

    /// The first value of this name in the body or else in the query; `FormValue`. `""` when there is none. What is
    /// not valid is ignored; [`form`](Self::form) tells of it.
    pub fn form_value(&mut self, name: &str) -> &str {
        self.parsed_form().values.get(name).unwrap_or_default()
    }

    /// The first value of this name in the body, whatever the query says; `PostFormValue`. `""` when there is none.
    pub fn post_form_value(&mut self, name: &str) -> &str {
        let form = self.parsed_form();
        let mut posted = form.values.iter().take(form.from_body);
        posted.find(|(given, _)| *given == name).map_or("", |(_, value)| value)
    }

    fn parsed_form(&mut self) -> &Form {
        let form = self.form.take().unwrap_or_else(|| self.parse_form());
        self.form.insert(form)
    }

    fn parse_form(&mut self) -> Form {
        let mut form = Form::default();
        if self.has_form_body() {
            match self.read_form() {
                Ok(text) => {
                    form.add(&text);
                    form.from_body = form.values.len();
                }
                Err(BodyError::TooLarge { limit: Some(FORM_BYTES_MAX) }) => {
                    form.error = Some(FormError::TooLarge)
                }
                Err(error) => form.error = Some(FormError::Body(error)),
            }
        }
        form.add(self.raw_query());
        form
    }

    fn has_form_body(&self) -> bool {
        let media_type = self.header("content-type").split(';').next().unwrap_or_default().trim();
        matches!(*self.method(), Method::POST | Method::PUT | Method::PATCH)
            && media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    }

    fn read_form(&mut self) -> Result<String, BodyError> {
        if !self.body.is_limited() {
            self.max_bytes(FORM_BYTES_MAX);
        }
        let mut bytes = Vec::new();
        self.read_to_end(&mut bytes)
            .map_err(|error| BodyError::of(&error).unwrap_or(BodyError::Incomplete))?;
        Ok(into_text(bytes))
    }
}

impl Form {
    fn add(&mut self, text: &str) {
        if let Err(error) = self.values.parse_into(text) {
            self.error.get_or_insert(FormError::Values(error));
        }
    }
}
