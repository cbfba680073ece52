//! `wasi:http/handler.handle` as an import, which the crate `wasip3` does not have: what wit-bindgen 0.63 generates for
//! `world next { import wasi:http/handler@0.3.2; }`, with error codes cut down to one.

use std::alloc::Layout;

use wasip3::http::types::{ErrorCode, Request, Response};
use wasip3::wit_bindgen::rt::async_support::Subtask;

struct Call;

#[derive(Clone, Copy)]
struct Lowered(i32);

// SAFETY: layout, offsets and names are those of the canonical ABI, as generated.
unsafe impl Subtask for Call {
    type Params = (Request,);
    type Results = Result<Response, ErrorCode>;
    type ParamsLower = Lowered;

    fn abi_layout(&mut self) -> Layout {
        Layout::from_size_align(24 + 4 * size_of::<*const u8>(), 8).expect("a layout")
    }

    fn results_offset(&mut self) -> usize {
        0
    }

    unsafe fn call_import(&mut self, params: Lowered, results: *mut u8) -> u32 {
        #[link(wasm_import_module = "wasi:http/handler@0.3.2")]
        unsafe extern "C" {
            #[link_name = "[async-lower]handle"]
            fn call(request: i32, results: *mut u8) -> i32;
        }
        // SAFETY: the request is one of ours, and there is room for the results.
        unsafe { call(params.0, results) as u32 }
    }

    unsafe fn params_dealloc_lists(&mut self, _: Lowered) {}

    unsafe fn params_dealloc_lists_and_own(&mut self, params: Lowered) {
        // SAFETY: the call was not begun, so the handle is still ours.
        drop(unsafe { Request::from_handle(params.0 as u32) });
    }

    unsafe fn params_lower(&mut self, (request,): (Request,), _: *mut u8) -> Lowered {
        Lowered(request.take_handle() as i32)
    }

    unsafe fn results_lift(&mut self, results: *mut u8) -> Self::Results {
        // SAFETY: the host has written them.
        match unsafe { results.read() } {
            0 => Ok(unsafe { Response::from_handle(results.add(8).cast::<u32>().read()) }),
            _ => Err(ErrorCode::InternalError(None)),
        }
    }
}

/// Has the handler behind this one answer.
pub(crate) async fn handle(request: Request) -> Result<Response, ErrorCode> {
    Call.call((request,)).await
}

#[unsafe(link_section = "component-type:wit-bindgen:0.63.0:wasmux:next:next:encoded world")]
#[allow(clippy::octal_escapes)]
#[used]
static __WIT_BINDGEN_COMPONENT_TYPE: [u8; 3914] = *b"\
\0asm\x0d\0\x01\0\0\x19\x16wit-component-encoding\x04\0\x07\xcf\x1d\x01A\x02\x01\
A\x0a\x01B\x02\x01w\x04\0\x08duration\x03\0\0\x03\0\x17wasi:clocks/types@0.3.2\x05\
\0\x02\x03\0\0\x08duration\x01B\x84\x01\x02\x03\x02\x01\x01\x04\0\x08duration\x03\
\0\0\x01q\x0a\x03get\0\0\x04head\0\0\x04post\0\0\x03put\0\0\x06delete\0\0\x07con\
nect\0\0\x07options\0\0\x05trace\0\0\x05patch\0\0\x05other\x01s\0\x04\0\x06metho\
d\x03\0\x02\x01q\x03\x04HTTP\0\0\x05HTTPS\0\0\x05other\x01s\0\x04\0\x06scheme\x03\
\0\x04\x01ks\x01k{\x01r\x02\x05rcode\x06\x09info-code\x07\x04\0\x11DNS-error-pay\
load\x03\0\x08\x01k}\x01r\x02\x08alert-id\x0a\x0dalert-message\x06\x04\0\x1aTLS-\
alert-received-payload\x03\0\x0b\x01ky\x01r\x02\x0afield-name\x06\x0afield-size\x0d\
\x04\0\x12field-size-payload\x03\0\x0e\x01kw\x01k\x0f\x01q'\x0bDNS-timeout\0\0\x09\
DNS-error\x01\x09\0\x15destination-not-found\0\0\x17destination-unavailable\0\0\x19\
destination-IP-prohibited\0\0\x19destination-IP-unroutable\0\0\x12connection-ref\
used\0\0\x15connection-terminated\0\0\x12connection-timeout\0\0\x17connection-re\
ad-timeout\0\0\x18connection-write-timeout\0\0\x18connection-limit-reached\0\0\x12\
TLS-protocol-error\0\0\x15TLS-certificate-error\0\0\x12TLS-alert-received\x01\x0c\
\0\x13HTTP-request-denied\0\0\x1cHTTP-request-length-required\0\0\x16HTTP-reques\
t-body-size\x01\x10\0\x1bHTTP-request-method-invalid\0\0\x18HTTP-request-URI-inv\
alid\0\0\x19HTTP-request-URI-too-long\0\0\x20HTTP-request-header-section-size\x01\
\x0d\0\x18HTTP-request-header-size\x01\x11\0!HTTP-request-trailer-section-size\x01\
\x0d\0\x19HTTP-request-trailer-size\x01\x0f\0\x18HTTP-response-incomplete\0\0!HT\
TP-response-header-section-size\x01\x0d\0\x19HTTP-response-header-size\x01\x0f\0\
\x17HTTP-response-body-size\x01\x10\0\"HTTP-response-trailer-section-size\x01\x0d\
\0\x1aHTTP-response-trailer-size\x01\x0f\0\x1dHTTP-response-transfer-coding\x01\x06\
\0\x1cHTTP-response-content-coding\x01\x06\0\x15HTTP-response-timeout\0\0\x13HTT\
P-upgrade-failed\0\0\x13HTTP-protocol-error\0\0\x0dloop-detected\0\0\x13configur\
ation-error\0\0\x0einternal-error\x01\x06\0\x04\0\x0aerror-code\x03\0\x12\x01q\x05\
\x0einvalid-syntax\0\0\x09forbidden\0\0\x09immutable\0\0\x0dsize-exceeded\0\0\x05\
other\x01\x06\0\x04\0\x0cheader-error\x03\0\x14\x01q\x03\x0dnot-supported\0\0\x09\
immutable\0\0\x05other\x01\x06\0\x04\0\x15request-options-error\x03\0\x16\x01s\x04\
\0\x0afield-name\x03\0\x18\x01p}\x04\0\x0bfield-value\x03\0\x1a\x04\0\x06fields\x03\
\x01\x04\0\x07headers\x03\0\x1c\x04\0\x08trailers\x03\0\x1c\x04\0\x07request\x03\
\x01\x04\0\x0frequest-options\x03\x01\x01{\x04\0\x0bstatus-code\x03\0!\x04\0\x08\
response\x03\x01\x01i\x1c\x01@\0\0$\x04\0\x13[constructor]fields\x01%\x01o\x02\x19\
\x1b\x01p&\x01j\x01$\x01\x15\x01@\x01\x07entries'\0(\x04\0\x18[static]fields.fro\
m-list\x01)\x01h\x1c\x01p\x1b\x01@\x02\x04self*\x04name\x19\0+\x04\0\x12[method]\
fields.get\x01,\x01@\x02\x04self*\x04name\x19\0\x7f\x04\0\x12[method]fields.has\x01\
-\x01j\0\x01\x15\x01@\x03\x04self*\x04name\x19\x05value+\0.\x04\0\x12[method]fie\
lds.set\x01/\x01@\x02\x04self*\x04name\x19\0.\x04\0\x15[method]fields.delete\x01\
0\x01j\x01+\x01\x15\x01@\x02\x04self*\x04name\x19\01\x04\0\x1d[method]fields.get\
-and-delete\x012\x01@\x03\x04self*\x04name\x19\x05value\x1b\0.\x04\0\x15[method]\
fields.append\x013\x01@\x01\x04self*\0'\x04\0\x17[method]fields.copy-all\x014\x01\
@\x01\x04self*\0$\x04\0\x14[method]fields.clone\x015\x01i\x1d\x01f\x01}\x01k7\x01\
i\x1e\x01k9\x01j\x01:\x01\x13\x01e\x01;\x01i\x20\x01k=\x01i\x1f\x01j\0\x01\x13\x01\
e\x01\xc0\0\x01o\x02?\xc1\0\x01@\x04\x07headers6\x08contents8\x08trailers<\x07op\
tions>\0\xc2\0\x04\0\x13[static]request.new\x01C\x01h\x1f\x01@\x01\x04self\xc4\0\
\0\x03\x04\0\x1a[method]request.get-method\x01E\x01j\0\0\x01@\x02\x04self\xc4\0\x06\
method\x03\0\xc6\0\x04\0\x1a[method]request.set-method\x01G\x01@\x01\x04self\xc4\
\0\0\x06\x04\0#[method]request.get-path-with-query\x01H\x01@\x02\x04self\xc4\0\x0f\
path-with-query\x06\0\xc6\0\x04\0#[method]request.set-path-with-query\x01I\x01k\x05\
\x01@\x01\x04self\xc4\0\0\xca\0\x04\0\x1a[method]request.get-scheme\x01K\x01@\x02\
\x04self\xc4\0\x06scheme\xca\0\0\xc6\0\x04\0\x1a[method]request.set-scheme\x01L\x04\
\0\x1d[method]request.get-authority\x01H\x01@\x02\x04self\xc4\0\x09authority\x06\
\0\xc6\0\x04\0\x1d[method]request.set-authority\x01M\x01@\x01\x04self\xc4\0\0>\x04\
\0\x1b[method]request.get-options\x01N\x01@\x01\x04self\xc4\0\06\x04\0\x1b[metho\
d]request.get-headers\x01O\x01o\x027<\x01@\x02\x04this?\x03res\xc1\0\0\xd0\0\x04\
\0\x1c[static]request.consume-body\x01Q\x01@\0\0=\x04\0\x1c[constructor]request-\
options\x01R\x01h\x20\x01k\x01\x01@\x01\x04self\xd3\0\0\xd4\0\x04\0+[method]requ\
est-options.get-connect-timeout\x01U\x01j\0\x01\x17\x01@\x02\x04self\xd3\0\x08du\
ration\xd4\0\0\xd6\0\x04\0+[method]request-options.set-connect-timeout\x01W\x04\0\
.[method]request-options.get-first-byte-timeout\x01U\x04\0.[method]request-optio\
ns.set-first-byte-timeout\x01W\x04\01[method]request-options.get-between-bytes-t\
imeout\x01U\x04\01[method]request-options.set-between-bytes-timeout\x01W\x01@\x01\
\x04self\xd3\0\0=\x04\0\x1d[method]request-options.clone\x01X\x01i#\x01o\x02\xd9\
\0\xc1\0\x01@\x03\x07headers6\x08contents8\x08trailers<\0\xda\0\x04\0\x14[static\
]response.new\x01[\x01h#\x01@\x01\x04self\xdc\0\0\"\x04\0\x20[method]response.ge\
t-status-code\x01]\x01@\x02\x04self\xdc\0\x0bstatus-code\"\0\xc6\0\x04\0\x20[met\
hod]response.set-status-code\x01^\x01@\x01\x04self\xdc\0\06\x04\0\x1c[method]res\
ponse.get-headers\x01_\x01@\x02\x04this\xd9\0\x03res\xc1\0\0\xd0\0\x04\0\x1d[sta\
tic]response.consume-body\x01`\x03\0\x15wasi:http/types@0.3.2\x05\x02\x02\x03\0\x01\
\x07request\x02\x03\0\x01\x08response\x02\x03\0\x01\x0aerror-code\x01B\x0b\x02\x03\
\x02\x01\x03\x04\0\x07request\x03\0\0\x02\x03\x02\x01\x04\x04\0\x08response\x03\0\
\x02\x02\x03\x02\x01\x05\x04\0\x0aerror-code\x03\0\x04\x01i\x01\x01i\x03\x01j\x01\
\x07\x01\x05\x01C\x01\x07request\x06\0\x08\x04\0\x06handle\x01\x09\x03\0\x17wasi\
:http/handler@0.3.2\x05\x06\x04\0\x10wasmux:next/next\x04\0\x0b\x0a\x01\0\x04nex\
t\x03\0\0\0G\x09producers\x01\x0cprocessed-by\x02\x0dwit-component\x070.262.0\x10\
wit-bindgen-rust\x060.63.0";
