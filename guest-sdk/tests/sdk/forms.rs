use wasmux_sdk::{Recorder, Request, Result, TestRequest};

fn look(request: TestRequest, check: impl Fn(&mut Request) -> Result<()>) -> Recorder {
    Recorder::serve(move |_: &mut wasmux_sdk::ResponseWriter, r: &mut Request| check(r), request)
}

#[test]
fn the_body_comes_before_the_query() {
    let request = Request::post("/?both=query&only=query").form(&[("both", "body & more"), ("ä", "ö=ü")]);
    let response = look(request, |r| {
        let form = r.form()?;
        let both: Vec<_> = form.get_all("both").collect();
        assert_eq!(both, ["body & more", "query"]);
        assert_eq!((form.get("only"), form.get("ä"), form.get("no")), (Some("query"), Some("ö=ü"), None));
        assert_eq!(r.form_value("both"), "body & more");
        assert_eq!(r.form_value("no"), "");
        for (name, want) in [("both", "body & more"), ("ä", "ö=ü"), ("only", "")] {
            assert_eq!(r.post_form_value(name), want);
        }
        Ok(())
    });
    assert_eq!(response.status(), 200);
}

#[test]
fn only_urlencoded_bodies_of_post_put_and_patch_count() {
    let table = [
        (Request::post("/"), "application/x-www-form-urlencoded", "1"),
        (Request::put("/"), "Application/X-WWW-Form-Urlencoded; charset=utf-8", "1"),
        (Request::patch("/"), "application/x-www-form-urlencoded", "1"),
        (Request::delete("/"), "application/x-www-form-urlencoded", ""),
        (Request::get("/"), "application/x-www-form-urlencoded", ""),
        (Request::post("/"), "text/plain", ""),
        (Request::post("/"), "", ""),
    ];
    for (request, content_type, want) in table {
        look(request.header("content-type", content_type).body("a=1"), |r| {
            assert_eq!(r.form_value("a"), want, "{content_type}");
            Ok(())
        });
    }
}

fn urlencoded(body: impl Into<Vec<u8>>) -> TestRequest {
    Request::post("/").header("content-type", "application/x-www-form-urlencoded").body(body)
}

#[test]
fn what_is_not_valid_is_400_but_the_rest_can_be_had() {
    for body in ["a=1&b;c=2", "a=1&b=%zz"] {
        let response = look(urlencoded(body), |r| {
            assert_eq!(r.form_value("a"), "1");
            r.form().map(drop)
        });
        assert_eq!((response.status().as_u16(), response.text()), (400, "invalid form\n"), "{body}");
    }
}

#[test]
fn a_form_of_more_than_10_mib_is_413_unless_allowed() {
    let large = || urlencoded(vec![b'x'; (10 << 20) + 1]);
    let response = look(large(), |r| r.form().map(drop));
    assert_eq!((response.status().as_u16(), response.text()), (413, "http: POST too large\n"));
    assert_eq!(response.header("connection"), "close");
    assert_eq!(look(large(), |r| r.max_bytes(20 << 20).form().map(drop)).status(), 200);
    assert_eq!(look(urlencoded("a=123456"), |r| r.max_bytes(3).form().map(drop)).status(), 413);
}

#[test]
fn ten_thousand_parameters_are_enough() {
    let many = "a&".repeat(10_000) + "b";
    look(Request::get(&format!("/?{many}")), |r| {
        assert!(r.query().is_empty());
        Ok(())
    });
    assert_eq!(look(urlencoded(many), |r| r.form().map(drop)).status(), 400);
}
