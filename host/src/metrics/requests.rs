//! Connections, requests by route, failures by handler, upstreams of proxies.

use super::page::{Kind, Page};
use crate::stats::{Registry, RouteKey};

/// The labels of a route.
fn labels(key: &RouteKey) -> [(&str, &str); 4] {
    let RouteKey { server, pattern, handler, version } = key;
    [("server", server), ("route", pattern), ("handler", handler), ("version", version)]
}

pub(super) fn write(page: &mut Page, registry: &Registry) {
    let servers = registry.servers();
    page.family("wasmux_connections", Kind::Gauge, "Open connections.");
    for server in &servers {
        page.sample(&[("server", &server.name)], server.connections.get());
    }
    page.family("wasmux_connections_accepted_total", Kind::Counter, "Connections that were accepted.");
    for server in &servers {
        page.sample(&[("server", &server.name)], server.accepted.get());
    }
    page.family(
        "wasmux_upgraded_connections",
        Kind::Gauge,
        "Of the open ones, those that a 101 has made tunnels.",
    );
    for server in &servers {
        page.sample(&[("server", &server.name)], server.upgraded.get());
    }
    let help = "HTTP/2 connections that were ended because of the client's mistakes.";
    page.family("wasmux_http2_errors_total", Kind::Counter, help);
    for server in &servers {
        page.sample(&[("server", &server.name)], server.http2_errors.get());
    }
    write_routes(page, registry);
    let handlers = registry.handlers();
    page.family(
        "wasmux_errors_total",
        Kind::Counter,
        "Requests that their handler has failed, limits aside.",
    );
    for (handler, stats) in handlers.iter().filter(|(name, _)| !name.is_empty()) {
        for (reason, count) in stats.errors() {
            page.sample(&[("handler", handler), ("reason", reason)], count);
        }
    }
    write_upstreams(page, registry);
}

fn write_routes(page: &mut Page, registry: &Registry) {
    let routes = registry.routes();
    page.family("wasmux_http_requests_total", Kind::Counter, "Requests, by the status of their response.");
    for (key, stats) in &routes {
        for (code, count) in stats.codes() {
            let [server, route, handler, version] = labels(key);
            page.sample(&[server, route, handler, version, ("code", &code)], count);
        }
    }
    let help = "From the head of the request to the last byte of the response.";
    page.family("wasmux_http_request_duration_seconds", Kind::Histogram, help);
    for (key, stats) in &routes {
        page.histogram(&labels(key), &stats.duration);
    }
    page.family("wasmux_http_request_bytes_total", Kind::Counter, "Content of requests that was read.");
    for (key, stats) in &routes {
        page.sample(&labels(key), stats.request_bytes.get());
    }
    page.family("wasmux_http_response_bytes_total", Kind::Counter, "Content of responses.");
    for (key, stats) in &routes {
        page.sample(&labels(key), stats.response_bytes.get());
    }
}

fn write_upstreams(page: &mut Page, registry: &Registry) {
    let upstreams = registry.upstreams();
    let of = || {
        upstreams.iter().map(|((handler, upstream), stats)| {
            (vec![("handler", &**handler), ("upstream", &**upstream)], stats)
        })
    };
    let help = "Requests of proxies, by upstream.";
    page.operations("wasmux_upstream_requests_total", help, of().map(|(who, stats)| (who, &stats.requests)));
    let help = "Until the head of the response.";
    page.family("wasmux_upstream_request_duration_seconds_total", Kind::Counter, help);
    for (who, stats) in of() {
        page.sample(&who, stats.requests.seconds());
    }
    let help = "Whether the latest health check went well; 1 where there are none.";
    page.family("wasmux_upstream_healthy", Kind::Gauge, help);
    for (who, stats) in of() {
        page.sample(&who, u8::from(!stats.is_ill.load(std::sync::atomic::Ordering::Relaxed)));
    }
}
