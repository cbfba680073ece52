//! Run with: cargo run --release -- serve
//! Then: curl -F file=@big.iso http://localhost:8080/upload
//!
//! Hashes what is uploaded, as a form with files or as it is, in constant memory: 100 MB need no more than 1 KB does.

use std::io::{self, Read};

use serde::Serialize;
use sha2::{Digest, Sha256};
use wasmux_sdk::{Request, ResponseWriter, Result};

/// What one upload was.
#[derive(Serialize)]
struct Upload {
    /// Name of the file, or of the form field; empty for a body that is no form.
    name: String,
    bytes: u64,
    sha256: String,
}

/// `POST /upload`: sizes and hashes, one for each part of a form, or one for any other body.
#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let mut uploads = Vec::new();
    if r.header("content-type").starts_with("multipart/") {
        let mut parts = r.multipart()?;
        while let Some(mut part) = parts.next_part()? {
            let name = part.file_name().unwrap_or(part.name()).to_owned();
            uploads.push(hash(name, &mut part)?);
        }
    } else {
        uploads.push(hash(String::new(), r)?);
    }
    w.json(&uploads)
}

/// Reads to the end. A body that ends early, or is too long for the handler's limit, is an error here, and becomes a
/// `400` or `413` by way of the `?`s.
fn hash(name: String, from: &mut impl Read) -> Result<Upload> {
    let mut sha256 = Sha256::new();
    let bytes = io::copy(from, &mut sha256)?;
    Ok(Upload { name, bytes, sha256: format!("{:x}", sha256.finalize()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmux_sdk::Recorder;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn hashes_a_plain_body() {
        let response = Recorder::serve(serve_http, Request::post("/upload").body("abc"));
        assert_eq!(response.text(), format!("[{{\"name\":\"\",\"bytes\":3,\"sha256\":\"{ABC}\"}}]\n"));
    }

    #[test]
    fn hashes_each_part_of_a_form() {
        let form = "--x\r\n\
                    Content-Disposition: form-data; name=\"note\"\r\n\r\n\
                    abc\r\n\
                    --x\r\n\
                    Content-Disposition: form-data; name=\"file\"; filename=\"a.txt\"\r\n\r\n\
                    abc\r\n\
                    --x--\r\n";
        let request =
            Request::post("/upload").header("content-type", "multipart/form-data; boundary=x").body(form);
        let response = Recorder::serve(serve_http, request);
        let part = |name: &str| format!("{{\"name\":\"{name}\",\"bytes\":3,\"sha256\":\"{ABC}\"}}");
        assert_eq!(response.text(), format!("[{},{}]\n", part("note"), part("a.txt")));
    }

    #[test]
    fn counts_a_hundred_megabytes() {
        let megabyte = vec![0_u8; 1 << 20];
        let request = Request::post("/upload").chunks(std::iter::repeat_n(megabyte, 100));
        let response = Recorder::serve(serve_http, request);
        assert!(response.text().contains("\"bytes\":104857600"), "{}", response.text());
    }

    #[test]
    fn half_an_upload_is_refused() {
        let response = Recorder::serve(serve_http, Request::post("/upload").chunks(["half"]).broken_body());
        assert_eq!(response.status(), 400);
        let response =
            Recorder::serve(serve_http, Request::post("/upload").chunks(["half"]).oversized_body());
        assert_eq!(response.status(), 413);
    }
}
