use wasmux_sdk::detect_content_type;

#[test]
fn types_are_detected_as_by_net_http() {
    let table: &[(&[u8], &str)] = &[
        (b"", "text/plain; charset=utf-8"),
        (b"\x01\x02\x03", "application/octet-stream"),
        (b"<HtMl><bOdY>blah blah blah</body></html>", "text/html; charset=utf-8"),
        (b"   <!DOCTYPE HTML>...", "text/html; charset=utf-8"),
        (b"\n\r\t\x0c <a >", "text/html; charset=utf-8"),
        (b"<html", "text/plain; charset=utf-8"),
        (b"<html\n>", "text/plain; charset=utf-8"),
        (b"<htmlx>", "text/plain; charset=utf-8"),
        (b"<!-- x", "text/html; charset=utf-8"),
        (b"<b>", "text/html; charset=utf-8"),
        (b"<br/>", "text/plain; charset=utf-8"),
        (b"\n<?xml!", "text/xml; charset=utf-8"),
        (b"%PDF-1.7", "application/pdf"),
        (b"%!PS-Adobe-3.0", "application/postscript"),
        (b" %PDF-", "text/plain; charset=utf-8"),
        (b"\xfe\xff\0a", "text/plain; charset=utf-16be"),
        (b"\xff\xfea\0", "text/plain; charset=utf-16le"),
        (b"\xef\xbb\xbfa", "text/plain; charset=utf-8"),
        (b"\xff\xfe", "text/plain; charset=utf-8"),
        (b"This is a test", "text/plain; charset=utf-8"),
        (b"\x1b[31mred", "text/plain; charset=utf-8"),
        (b"bell\x07", "application/octet-stream"),
        (b"\x00\x00\x01\x00", "image/x-icon"),
        (b"\x00\x00\x02\x00", "image/x-icon"),
        (b"BM...", "image/bmp"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a...", "image/gif"),
        (b"RIFFb\xb8\x00\x00WEBPVP8", "image/webp"),
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff\xdb", "image/jpeg"),
        (b"FORM\0\0\0\0AIFFCOMM", "audio/aiff"),
        (b"ID3\x03", "audio/mpeg"),
        (b"OggS\x00\x7e\x46", "application/ogg"),
        (b"MThd\x00\x00\x00\x06\x00\x01", "audio/midi"),
        (b"RIFFb\xb8\x00\x00AVI \x0c", "video/avi"),
        (b"RIFFb\xb8\x00\x00WAVEfmt \x12\x00", "audio/wave"),
        (b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00mp42isom", "video/mp4"),
        (b"\x00\x00\x00\x14ftypisom\x00\x00\x00\x00mp41", "video/mp4"),
        (b"\x00\x00\x00\x10ftypisommp41", "application/octet-stream"),
        (b"\x00\x00\x00\x18ftypmp42", "application/octet-stream"),
        (b"\x1a\x45\xdf\xa3", "video/webm"),
        (b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxLP", "application/vnd.ms-fontobject"),
        (b"\x00\x01\x00\x00", "font/ttf"),
        (b"OTTO\x00\x0e", "font/otf"),
        (b"ttcf\x00\x01", "font/collection"),
        (b"wOFF\x00\x01", "font/woff"),
        (b"wOF2\x00\x01", "font/woff2"),
        (b"\x1f\x8b\x08\x08", "application/x-gzip"),
        (b"PK\x03\x04", "application/zip"),
        (b"Rar!\x1a\x07\x00", "application/x-rar-compressed"),
        (b"Rar!\x1a\x07\x01\x00", "application/x-rar-compressed"),
        (b"Rar!\x1a\x07x", "application/octet-stream"),
        (b"\0asm\x01\0\0\0", "application/wasm"),
    ];
    for (data, want) in table {
        assert_eq!(detect_content_type(data), *want, "{}", data.escape_ascii());
    }
}

#[test]
fn only_512_bytes_are_looked_at() {
    let mut data = vec![b' '; 512];
    data.extend(b"<html>\0");
    assert_eq!(detect_content_type(&data), "text/plain; charset=utf-8");
}
