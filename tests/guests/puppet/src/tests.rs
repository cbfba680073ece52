use super::serve_http;
use wasmux_sdk::{Recorder, Request};

fn get(ops: &str) -> Recorder {
    Recorder::serve(serve_http, Request::get(&format!("/puppet?ops={ops}")))
}

fn field(response: &Recorder, name: &str) -> Vec<String> {
    let values = response.headers().get_all(name).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

#[test]
fn without_operations_it_says_ok() {
    for query in ["", "?", "?ops=", "?x=1&ops=", "?ops=&ops=text:b"] {
        let response = Recorder::serve(serve_http, Request::get(&format!("/a%2Fb{query}")));
        assert_eq!((response.status().as_u16(), response.text()), (200, "ok\n"), "{query}");
        assert_eq!(response.header("x-puppet"), "/a");
    }
}

#[test]
fn bad_operations_do_nothing_else() {
    for ops in [
        "text:a,nope",
        "read",
        "read:-1",
        "read:+1",
        "write:x",
        "status:99",
        "status:1000",
        "hdr:X",
        "see:1",
        ",",
        "flush:",
    ] {
        let response = get(ops);
        assert_eq!((response.status().as_u16(), response.text()), (500, "bad ops\n"), "{ops}");
        assert_eq!(response.header("x-puppet"), "/puppet");
    }
}

#[test]
fn the_head_is_fixed_once() {
    let response = get("hdr:X-A:1,hdr:x-a:2,status:201,status:500,hdr:X-A:3,cl:99,text:a%2Cb%3A%zz+");
    assert_eq!((response.status().as_u16(), response.text()), (201, "a,b:%zz+"));
    assert_eq!(field(&response, "x-a"), ["1", "2"]);
    let response = get("write:0,status:500");
    assert_eq!((response.status().as_u16(), response.header("content-length")), (200, "0"));
}

#[test]
fn header_values_cannot_split_the_response() {
    let response = get("hdr:X-A:a%0D%0AX-B:1,hdr:b%20ad:1,hdr::1,hdr:X-C:%20%FF%00%20");
    assert_eq!(field(&response, "x-a"), ["a  X-B:1"]);
    assert!(field(&response, "x-b").is_empty());
    assert_eq!(response.headers()["x-c"].as_bytes(), b"\xff");
}

#[test]
fn an_unusable_length_is_dropped() {
    let response = get("cl:abc,text:body");
    assert!(field(&response, "content-length").is_empty() && response.is_streamed());
    let response = get("hdr:Content-Length:%2b4,hdr:Content-Length:9,text:body");
    assert_eq!((field(&response, "content-length"), response.text()), (vec!["4".to_owned()], "body"));
    let response = get("cl:5,write:5,write:5");
    assert_eq!((response.text(), response.header("connection")), ("abcde", "close"));
    assert!(get("cl:10,write:4").is_broken_off());
}

#[test]
fn the_pattern_runs_on() {
    let response = get("write:60,write:5,flush,write:60");
    let text = response.text();
    assert!(text.starts_with("abc") && text[60..].starts_with("89bcd") && text.len() == 125, "{text}");
    assert_eq!(&text[122..], "9ac"); // each row of 62 starts one further on
    assert_eq!(response.flushes(), [65]);
}

#[test]
fn reading_stops_where_it_is_told() {
    let post = |ops: &str| {
        let request = Request::post(&format!("/puppet?ops={ops}")).chunks(["ab", "cde"]);
        Recorder::serve(serve_http, request)
    };
    assert_eq!(post("state,read:3,state,echo").text(), "end=open\nend=open\nabc");
    assert_eq!(post("read:5,state,read:1,state").text(), "end=open\nend=eof\n");
    let digest = "read=5 sha256=36bbe50ed96841d10443bcb670d6554f0a34b761be67ec9c4a8ad2c0c44ca42c\n";
    assert_eq!(post("read:all,digest").text(), digest);
    let broken = Request::post("/puppet?ops=read:all,state,echo").chunks(["ab"]).broken_body();
    assert_eq!(Recorder::serve(serve_http, broken).text(), "end=error\nab");
}

#[test]
fn it_sees_the_request() {
    let request = Request::post("/puppet/a%2Fb%20%ff?x=%zz&ops=read:all,see")
        .header("x-b", "2")
        .header("accept", "*/*")
        .header("X-B", b"\xe9\"\\")
        .header("transfer-encoding", "chunked")
        .header("trailer", "x-t")
        .chunks(["abc"])
        .trailer("x-t", "one");
    let want = concat!(
        r#"{"method":"POST","uri":"/puppet/a%2Fb%20%ff?x=%zz&ops=read:all,see","path":"/puppet/a/b \u00ff","#,
        r#""query":"x=%zz&ops=read:all,see","proto":"HTTP/1.1","host":"example.com","length":-1,"te":["chunked"],"#,
        r#""headers":[["Accept","*/*"],["X-B","2"],["X-B","\u00e9\u0022\u005c"]],"trailers":[["X-T","one"]]}"#,
        "\n"
    );
    assert_eq!(Recorder::serve(serve_http, request).text(), want);
}

#[test]
fn interim_responses_leave_the_head_open() {
    let response = get("hdr:Link:%3C/a.css%3E,status:103,status:100,text:done");
    let codes: Vec<_> = response.interim().iter().map(|(status, _)| status.as_u16()).collect();
    assert_eq!((codes, response.status().as_u16()), (vec![103, 100], 200));
    assert_eq!(response.interim()[0].1["link"], "</a.css>");
}

#[test]
fn trailers_follow_the_body() {
    let response = get("trailer:X-Sum:42,text:body");
    assert_eq!(
        (response.header("trailer"), &response.trailers()["x-sum"]),
        ("X-Sum", &"42".parse().unwrap())
    );
    let response = get("text:a,flush,utrailer:X-U:1,text:b");
    assert_eq!(response.trailers()["x-u"], "1");
    // A body that leaves in one piece has a length, and no room behind it.
    let response = get("utrailer:X-U:1,text:b");
    assert_eq!((response.header("content-length"), response.trailers().len()), ("1", 0));
}

#[test]
#[should_panic = "the query asks for it"]
fn it_panics_when_told_to() {
    let _ = get("text:a,panic");
}
