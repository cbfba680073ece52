//! [`MultipartForm`]: a whole `multipart/form-data` body in memory, for forms that are known to be small.

use std::io::Read;

use http::{HeaderMap, StatusCode};

use crate::{Error, Request, Result, Values, escape::into_text};

/// What a part costs besides its content, names and headers, in bytes; as in net/http.
const PART_BYTES: usize = 100;
/// What a header field costs besides its name and value, in bytes.
const FIELD_BYTES: usize = 32;

/// A form with files, read whole; net/http's `MultipartForm`.
#[derive(Clone, Debug, Default)]
pub struct MultipartForm {
    /// The fields that are not files, in order; `Value`.
    pub values: Values,
    /// The files, in order; `File`.
    pub files: Vec<FormFile>,
}

/// A file in a [`MultipartForm`]; net/http's `FileHeader`, and the file.
#[derive(Clone, Debug, Default)]
pub struct FormFile {
    /// The name of the form field.
    pub name: String,
    /// The name of the file, without folders; from the client, so never to be trusted as a path.
    pub file_name: String,
    /// The headers of the part, such as `Content-Type`.
    pub headers: HeaderMap,
    /// What is in it.
    pub content: Vec<u8>,
}

impl MultipartForm {
    /// The first file of this form field; `FormFile`.
    #[must_use]
    pub fn file(&self, name: &str) -> Option<&FormFile> {
        self.files.iter().find(|file| file.name == name)
    }
}

impl Request {
    /// The whole `multipart/form-data` body, of at most `memory` bytes with everything that belongs to it;
    /// `ParseMultipartForm`. A guest has no temporary files, so files count like the rest: for large ones, use
    /// [`multipart`](Self::multipart), which keeps nothing. Parts without a name are skipped.
    ///
    /// ```
    /// # use std::io::Write;
    /// # use wasmux_sdk::{Request, ResponseWriter, Result};
    /// fn upload(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    ///     let form = r.multipart_form(1 << 20)?;
    ///     let size = form.file("photo").map_or(0, |file| file.content.len());
    ///     Ok(write!(w, "{}: {size} bytes", form.values.get("title").unwrap_or("untitled"))?)
    /// }
    /// ```
    ///
    /// # Errors
    /// `413` when it is larger, and what [`multipart`](Self::multipart) and
    /// [`next_part`](crate::Multipart::next_part) fail with.
    pub fn multipart_form(&mut self, memory: usize) -> Result<MultipartForm> {
        let mut left = memory;
        let mut form = MultipartForm::default();
        let mut parts = self.multipart()?;
        while let Some(mut part) = parts.next_part()? {
            let (name, file_name) = (part.name().to_owned(), part.file_name().map(str::to_owned));
            if name.is_empty() {
                continue;
            }
            let headers = part.headers().clone();
            let fields: usize = headers.iter().map(|(n, v)| n.as_str().len() + v.len() + FIELD_BYTES).sum();
            let extra = name.len() + file_name.as_ref().map_or(0, String::len) + fields + PART_BYTES;
            left = left.checked_sub(extra).ok_or_else(too_large)?;
            let mut content = Vec::new();
            // One byte more than there is room for tells what fits from what does not.
            part.by_ref().take(left as u64 + 1).read_to_end(&mut content)?;
            left = left.checked_sub(content.len()).ok_or_else(too_large)?;
            match file_name.filter(|file_name| !file_name.is_empty()) {
                Some(file_name) => form.files.push(FormFile { name, file_name, headers, content }),
                None => form.values.push(name, into_text(content)),
            }
        }
        Ok(form)
    }
}

fn too_large() -> Error {
    Error::new(StatusCode::PAYLOAD_TOO_LARGE, "multipart: message too large") // net/http's words
}
