//! `wasi:sockets`, where guests come upon it first: sockets are refused when they are made, names when they are looked up.
//!
//! wasmtime asks about addresses only, when a socket is bound or connected. That is too late: an unbound socket is a
//! descriptor of this process already. And a name that may not be looked up fails there as one that does not exist.

use wasmtime::Result;
use wasmtime::component::{Accessor, HasData, Linker, Resource};
use wasmtime_wasi::p2::bindings::sockets::network::{IpAddress, IpAddressFamily, Network};
use wasmtime_wasi::p2::bindings::sockets::{ip_name_lookup, network, tcp_create_socket, udp_create_socket};
use wasmtime_wasi::p2::{DynPollable, SocketError, SocketResult, TcpSocket, UdpSocket};
use wasmtime_wasi::p3::bindings::sockets as p3;
use wasmtime_wasi::sockets::{self, WasiSockets, WasiSocketsCtxView, WasiSocketsView as _};

use super::capability::{Denied, Hooks, Protocol};
use super::state::ComponentState;

/// wasmtime's name of the interface that has the constructors in 0.3.
const P3_TYPES: &str = "wasi:sockets/types@0.3.0";

/// wasmtime's sockets behind ours.
struct View<'s> {
    hooks: Hooks,
    inner: WasiSocketsCtxView<'s>,
}

struct Sockets;

impl HasData for Sockets {
    type Data<'s> = View<'s>;
}

fn view(state: &mut ComponentState) -> View<'_> {
    View { hooks: state.hooks.clone(), inner: state.sockets() }
}

/// Puts ours in front of wasmtime's, in 0.2 and, for components that may be concurrent, in 0.3.
pub(super) fn add_to_linker(linker: &mut Linker<ComponentState>, concurrent: bool) -> Result<()> {
    linker.allow_shadowing(true);
    tcp_create_socket::add_to_linker::<_, Sockets>(linker, view)?;
    udp_create_socket::add_to_linker::<_, Sockets>(linker, view)?;
    ip_name_lookup::add_to_linker::<_, Sockets>(linker, view)?;
    if concurrent {
        p3::ip_name_lookup::add_to_linker::<_, Sockets>(linker, view)?;
        let mut types = linker.instance(P3_TYPES)?;
        types.func_wrap("[static]tcp-socket.create", |mut store, (family,)| {
            Ok((create_tcp(view(store.data_mut()), family)?,))
        })?;
        types.func_wrap_async("[static]udp-socket.create", |mut store, (family,)| {
            Box::new(async move { Ok((create_udp(view(store.data_mut()), family).await?,)) })
        })?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

impl View<'_> {
    fn may_make(&self, protocol: Protocol) -> SocketResult<()> {
        self.hooks.make_socket(protocol).map_err(|Denied| network::ErrorCode::AccessDenied.into())
    }
}

impl network::Host for View<'_> {
    fn convert_error_code(&mut self, error: SocketError) -> Result<network::ErrorCode> {
        self.inner.convert_error_code(error)
    }

    fn network_error_code(&mut self, error: Resource<wasmtime::Error>) -> Result<Option<network::ErrorCode>> {
        self.inner.network_error_code(error)
    }
}

impl network::HostNetwork for View<'_> {
    fn drop(&mut self, network: Resource<Network>) -> Result<()> {
        network::HostNetwork::drop(&mut self.inner, network)
    }
}

impl tcp_create_socket::Host for View<'_> {
    fn create_tcp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<TcpSocket>> {
        self.may_make(Protocol::Tcp)?;
        self.inner.create_tcp_socket(family)
    }
}

impl udp_create_socket::Host for View<'_> {
    async fn create_udp_socket(&mut self, family: IpAddressFamily) -> SocketResult<Resource<UdpSocket>> {
        self.may_make(Protocol::Udp)?;
        self.inner.create_udp_socket(family).await
    }
}

impl ip_name_lookup::Host for View<'_> {
    fn resolve_addresses(
        &mut self,
        network: Resource<Network>,
        name: String,
    ) -> SocketResult<Resource<ip_name_lookup::ResolveAddressStream>> {
        self.hooks.look_up(&name).map_err(|Denied| network::ErrorCode::AccessDenied)?;
        self.inner.resolve_addresses(network, name)
    }
}

impl ip_name_lookup::HostResolveAddressStream for View<'_> {
    fn resolve_next_address(
        &mut self,
        stream: Resource<ip_name_lookup::ResolveAddressStream>,
    ) -> SocketResult<Option<IpAddress>> {
        self.inner.resolve_next_address(stream)
    }

    fn subscribe(
        &mut self,
        stream: Resource<ip_name_lookup::ResolveAddressStream>,
    ) -> Result<Resource<DynPollable>> {
        self.inner.subscribe(stream)
    }

    fn drop(&mut self, stream: Resource<ip_name_lookup::ResolveAddressStream>) -> Result<()> {
        ip_name_lookup::HostResolveAddressStream::drop(&mut self.inner, stream)
    }
}

type Made<T> = Result<std::result::Result<Resource<T>, p3::types::ErrorCode>>;

fn create_tcp(view: View<'_>, family: p3::types::IpAddressFamily) -> Made<sockets::TcpSocket> {
    let View { hooks, mut inner } = view;
    if hooks.make_socket(Protocol::Tcp) == Err(Denied) {
        return Ok(Err(p3::types::ErrorCode::AccessDenied));
    }
    match p3::types::HostTcpSocket::create(&mut inner, family) {
        Ok(socket) => Ok(Ok(socket)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

async fn create_udp(view: View<'_>, family: p3::types::IpAddressFamily) -> Made<sockets::UdpSocket> {
    let View { hooks, mut inner } = view;
    if hooks.make_socket(Protocol::Udp) == Err(Denied) {
        return Ok(Err(p3::types::ErrorCode::AccessDenied));
    }
    match p3::types::HostUdpSocket::create(&mut inner, family).await {
        Ok(socket) => Ok(Ok(socket)),
        Err(error) => Ok(Err(error.downcast()?)),
    }
}

impl p3::ip_name_lookup::Host for View<'_> {}

impl p3::ip_name_lookup::HostWithStore<ComponentState> for Sockets {
    async fn resolve_addresses(
        store: &Accessor<ComponentState, Self>,
        name: String,
    ) -> Result<std::result::Result<Vec<p3::types::IpAddress>, p3::ip_name_lookup::ErrorCode>> {
        if store.with(|mut store| store.get().hooks.look_up(&name)) == Err(Denied) {
            return Ok(Err(p3::ip_name_lookup::ErrorCode::AccessDenied));
        }
        let inner = store.with_getter::<WasiSockets>(ComponentState::sockets);
        <WasiSockets as p3::ip_name_lookup::HostWithStore<ComponentState>>::resolve_addresses(&inner, name)
            .await
    }
}
