//! Static files: tower-http's ServeDir (ranges, conditional requests, precompressed variants), held inside its folder.

use std::io;
use std::path::{Component, Path, PathBuf};

use http::header::{HeaderValue, LOCATION};
use http::{Request, Response, StatusCode, Uri, request};
use percent_encoding::percent_decode_str;
use tower_http::services::ServeDir;

use crate::body::Body;
use crate::error::{Error, Kind};
use crate::strip::strip;

/// Whether the path is at fault: a folder without an index, a name that no file can have.
fn names_no_file(error: &io::Error) -> bool {
    use io::ErrorKind::{
        InvalidFilename, InvalidInput, IsADirectory, NotADirectory, NotFound, PermissionDenied,
    };
    matches!(
        error.kind(),
        InvalidFilename | InvalidInput | IsADirectory | NotADirectory | NotFound | PermissionDenied
    )
}

/// Serves the files of one folder.
#[derive(Debug)]
pub struct Files {
    root: PathBuf,
    strip_prefix: String,
    service: ServeDir,
}

impl Files {
    /// Files under `folder`, looked up by the request path without `strip_prefix`.
    ///
    /// # Errors
    /// When the folder cannot be resolved.
    pub fn new(folder: &Path, strip_prefix: String) -> io::Result<Self> {
        let root = folder.canonicalize()?;
        let service = ServeDir::new(&root).precompressed_gzip().precompressed_br();
        Ok(Self { root, strip_prefix, service })
    }

    /// The file that the request names; `None` when there is none that may be served.
    pub(crate) async fn serve(&self, parts: &request::Parts) -> Result<Option<Response<Body>>, Error> {
        let Some(uri) = self.stripped(&parts.uri) else { return Ok(None) };
        if !self.is_inside(uri.path()).await {
            return Ok(None);
        }
        let mut request = Request::new(http_body_util::Empty::<bytes::Bytes>::new());
        *request.method_mut() = parts.method.clone();
        *request.headers_mut() = parts.headers.clone();
        *request.uri_mut() = uri;
        let mut response = match self.service.clone().try_call(request).await {
            Ok(response) => response.map(Body::other),
            Err(error) if names_no_file(&error) => return Ok(None),
            Err(error) => return Err(Error::new(Kind::Internal, error)),
        };
        if response.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.restore_prefix(&mut response);
        Ok(Some(response))
    }

    fn stripped(&self, uri: &Uri) -> Option<Uri> {
        let rest = strip(uri.path(), &self.strip_prefix)?;
        let slash = if rest.starts_with('/') { "" } else { "/" };
        let query = uri.query().map_or(String::new(), |query| format!("?{query}"));
        format!("{slash}{rest}{query}").parse().ok()
    }

    /// Redirects to a folder's path with a slash are made from the stripped path; the client knows the whole one.
    fn restore_prefix(&self, response: &mut Response<Body>) {
        if self.strip_prefix.is_empty() {
            return;
        }
        if let Some(location) = response.headers_mut().get_mut(LOCATION) {
            let whole = [self.strip_prefix.as_bytes(), location.as_bytes()].concat();
            if let Ok(whole) = HeaderValue::from_bytes(&whole) {
                *location = whole;
            }
        }
    }

    /// Whether everything that could be served for this path really lies in the folder: ServeDir refuses `..`, but
    /// follows symbolic links anywhere.
    async fn is_inside(&self, escaped_path: &str) -> bool {
        let Ok(path) = percent_decode_str(escaped_path).decode_utf8() else { return false };
        let mut file = self.root.clone();
        for component in Path::new(path.trim_start_matches('/')).components() {
            match component {
                Component::Normal(name) => file.push(name),
                Component::CurDir => {}
                _ => return false,
            }
        }
        let root = self.root.clone();
        // All questions in one go: asking costs less than handing a question to the threads that may block.
        tokio::task::spawn_blocking(move || leads_nowhere_else(&root, file)).await.unwrap_or(false)
    }
}

/// Whether the file, its compressed variants and its index, as far as they exist, are plain and lie below `root`.
fn leads_nowhere_else(root: &Path, file: PathBuf) -> bool {
    let index = file.join("index.html");
    [file, index].into_iter().all(|candidate| {
        ["", ".gz", ".br"].into_iter().all(|suffix| {
            let mut name = candidate.clone().into_os_string();
            name.push(suffix);
            // What does not exist cannot lead out.
            std::fs::canonicalize(&name).map_or(true, |real| real.starts_with(root) && is_plain(&real))
        })
    })
}

/// A file or a folder: opening anything else, such as a named pipe, can wait for ever.
fn is_plain(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|found| found.is_file() || found.is_dir())
}
