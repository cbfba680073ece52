//! Arbitrary guests against the host calls of `serve_http`: the outcome is a response that may be sent or an error that is
//! not the host's own, it is there in time, and the next request finds a host that serves.

use std::sync::{Arc, LazyLock};

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Response};
use wasmux::body::Body;
use wasmux::guest::{
    Allow, Answer, Directory, Folder, Grants, Guest, GuestEngine, GuestSettings, Incoming, Limits, Next,
    OnDisconnect, Outgoing, Settings,
};
use wasmux::kv::{self, Backend, Embedded, Grant, Store};
use wasmux::outbound::{Outbound, TransportSettings};

use crate::guests::Program;
use crate::world::{Client, PATIENT_TIMEOUT, engine, exchange, load, settings, sound_guest};

/// As many as one request needs that has a next handler: who is left behind is in the way.
const INSTANCES: u32 = 2;

const SANE: &[u8] = br#"(module
  (import "wasmux:http/1" "respond" (func $respond (param i32 i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "sane")
  (func (export "serve_http")
    (drop (call $respond (i32.const 200) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 4)))))"#;

struct World {
    engine: GuestEngine,
    sane: Arc<Guest>,
    next: Arc<dyn Next>,
    /// Guests may call the handler `echo`, and nobody else.
    outgoing: Outgoing,
    /// The store that guests may use.
    store: Store,
    /// The folder that guests may read.
    folder: tempfile::TempDir,
}

impl World {
    fn grants(&self, has_files: bool) -> Grants {
        let mut settings = Settings::default();
        settings.insert("KEY".to_owned(), "value of a key".to_owned());
        let folder = has_files.then(|| Folder {
            name: "files".to_owned(),
            path: self.folder.path().to_owned(),
            read_only: true,
        });
        Grants {
            settings: Some(Arc::new(settings)),
            outgoing: Some(self.outgoing.clone()),
            folders: folder.into_iter().collect(),
            stores: vec![("GET".to_owned(), Grant::new(self.store.clone(), "a", has_files))],
            ..Grants::default()
        }
    }
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let engine = engine(INSTANCES);
    let patient = |name| {
        let mut settings = settings(name);
        settings.limits.timeout = PATIENT_TIMEOUT;
        settings
    };
    let sane = sound_guest(&engine, SANE, patient("sane"));
    let echo = include_bytes!("../../../tests/guests/echo.wat");
    let next: Arc<dyn Next> = Arc::new(Behind(sound_guest(&engine, echo, settings("echo"))));
    let folder = tempfile::tempdir().expect("there is room for a folder");
    std::fs::write(folder.path().join("a.txt"), "text of a file").expect("there is room in it");
    let directory = Arc::new(Directory::default());
    directory.fill([("echo".to_owned(), Arc::downgrade(&next))]);
    let mut allow = Allow::default();
    allow.add("http://echo.handler").expect("it is an entry");
    let transport = TransportSettings::default();
    let outbound = Outbound::new(&transport).expect("the system's resolver can be used");
    let outgoing = Outgoing::new(&outbound, transport, allow, directory, &Limits::default());
    // So small that it is soon full.
    let limits = kv::Limits { store_bytes_max: 1 << 20, value_bytes_max: 64 << 10, ..kv::Limits::default() };
    let file = Embedded::new(folder.path().join("state/store.redb"));
    let store = Store::new(Backend::Embedded(Arc::new(file)), limits);
    World { engine, sane, next, outgoing, store, folder }
});

/// The handler behind: sends back what it gets.
#[derive(Debug)]
struct Behind(Arc<Guest>);

impl Next for Behind {
    fn serve(&self, request: Incoming) -> Answer {
        let guest = Arc::clone(&self.0);
        Box::pin(async move { guest.serve(request).await.unwrap_or_else(|_| Response::new(Body::empty())) })
    }
}

/// Input: a guest, a request and a client, as `arbitrary` reads them.
pub fn host_calls(input: &[u8]) {
    // An error is data that has run out.
    let _ = play(&mut Unstructured::new(input));
}

fn play(u: &mut Unstructured<'_>) -> Result<()> {
    let world = &*WORLD;
    let request = request(u)?;
    let client = if u.ratio(1, 4)? { Client::LeavesAfter(u.int_in_range(0..=3)?) } else { Client::Reads };
    let on_disconnect = if u.ratio(1, 4)? { OnDisconnect::Finish } else { OnDisconnect::Cancel };
    let has_files = u.ratio(1, 2)?;
    let program = Program::arbitrary(u)?;

    let next = program.has_next.then(|| Arc::clone(&world.next));
    let env = vec![("NAME".to_owned(), "value".to_owned())];
    let grants = world.grants(has_files);
    let settings = GuestSettings { env, grants, on_disconnect, next, ..settings("arbitrary") };
    let artifact = load(&world.engine, program.wat.as_bytes());
    let guest = artifact.and_then(|artifact| Guest::new(&world.engine, &artifact, settings));
    let guest = Arc::new(guest.unwrap_or_else(|error| panic!("{error}\n{}", program.wat)));
    let _ = exchange(&guest, request, client);
    drop(guest);

    let sane = exchange(&world.sane, Request::new(Bytes::new()), Client::Reads);
    let sane = sane.unwrap_or_else(|error| panic!("a neighbour pays for it ({error}):\n{}", program.wat));
    assert_eq!(sane.body, b"sane", "{}", program.wat);
    Ok(())
}

fn request(u: &mut Unstructured<'_>) -> Result<Request<Bytes>> {
    let method =
        u.choose(&[Method::GET, Method::POST, Method::HEAD, Method::OPTIONS, Method::CONNECT])?.clone();
    let target = *u.choose(&["/", "/value?q", "*", "/%ff", "http://example.com/x"])?;
    let body = vec![b'b'; *u.choose(&[0, 1, 10, 5_000, 200_000])?];
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = target.parse().expect("each of them is one");
    for _ in 0..u.int_in_range(0..=3)? {
        let name = *u.choose(&["host", "x-a", "content-type", "expect", "cookie"])?;
        let value = *u.choose(&[&b"value"[..], b"", b"100-continue", b"\xff\xfe"])?;
        let value = HeaderValue::from_bytes(value).expect("each of them is one");
        request.headers_mut().append(HeaderName::from_static(name), value);
    }
    Ok(request)
}
