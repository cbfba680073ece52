//! The attributes `#[handler]` and `#[warm_up]`. `wasmux-sdk` re-exports them, and their documentation is there.
//!
//! It keeps the function as it is, checks its shape (the types are checked by the compiler, through the function
//! pointer below), and for WebAssembly adds the export that the host calls: `serve_http` in a core module, and
//! `wasi:http/incoming-handler` in a component, which is what `target_env = "p2"` stands for.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Error, ItemFn, ReturnType, Signature, spanned::Spanned};

mod warm_up;

const SHAPE: &str = "fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()>";

/// Makes a function the HTTP handler of this module; see `wasmux_sdk::handler`.
#[proc_macro_attribute]
pub fn handler(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    let extra = expand(args.into(), item.clone()).unwrap_or_else(|error| error.into_compile_error());
    // The function stays even when it is refused, so that the compiler has one thing to say and not twenty.
    quote!(#item #extra).into()
}

/// Has a function run before the snapshot of this module is taken; see `wasmux_sdk::warm_up`.
#[proc_macro_attribute]
pub fn warm_up(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    let extra = warm_up::expand(&args.into(), item.clone());
    let extra = extra.unwrap_or_else(|error| error.into_compile_error());
    quote!(#item #extra).into()
}

/// What is added behind the function.
fn expand(args: TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !args.is_empty() {
        return Err(Error::new_spanned(args, "#[handler] takes no arguments"));
    }
    let span = item.span();
    let function: ItemFn = syn::parse2(item)
        .map_err(|_| Error::new(span, format!("#[handler] goes on a function: `{SHAPE}`")))?;
    check(&function.sig)?;
    let name = &function.sig.ident;
    let handler_type = quote! {
        fn(&mut ::wasmux_sdk::ResponseWriter, &mut ::wasmux_sdk::Request) -> ::wasmux_sdk::Result<()>
    };
    let typed = quote_spanned! { signature_span(&function.sig) => const HANDLER: #handler_type = #name; };
    let component = component();
    Ok(quote! {
        const _: () = {
            #typed
            #[cfg(all(target_family = "wasm", not(target_env = "p2")))]
            #[unsafe(export_name = "serve_http")]
            extern "C" fn export() {
                ::wasmux_sdk::__private::serve(HANDLER);
            }
            #component
            #[cfg(not(target_family = "wasm"))]
            const _: #handler_type = HANDLER; // so that the function counts as used
        };
    })
}

/// The export of a component. Its routes are in a variable that `wasmux build --component` sets.
fn component() -> TokenStream {
    let package = std::env::var("CARGO_PKG_NAME").unwrap_or_default();
    let routes = routes_variable(&package);
    quote! {
        #[cfg(all(target_family = "wasm", target_env = "p2"))]
        const _: () = {
            use ::wasmux_sdk::__private::wasip2;
            struct Component;
            impl wasip2::exports::http::incoming_handler::Guest for Component {
                fn handle(
                    request: wasip2::http::types::IncomingRequest,
                    response: wasip2::http::types::ResponseOutparam,
                ) {
                    ::wasmux_sdk::__private::serve(HANDLER, ::core::option_env!(#routes), request, response);
                }
            }
            wasip2::http::proxy::export!(Component with_types_in wasip2);
        };
    }
}

/// The variable for one crate of a workspace: `WASMUX_ROUTES_MY_HANDLER`, in the way of cargo's own variables.
fn routes_variable(package: &str) -> String {
    let name = package.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("WASMUX_ROUTES_{}", name.to_ascii_uppercase())
}

/// Refuses what can never become a handler, with a sentence that says what to write instead.
fn check(sig: &Signature) -> syn::Result<()> {
    if let Some(token) = sig.asyncness {
        let text = "a handler is not async: the host suspends it while it waits for the network, just write \
                    `fn`; reads and writes block only this request";
        return Err(Error::new(token.span, text));
    }
    if let Some(token) = sig.unsafety {
        return Err(Error::new(token.span, "a handler is a safe function"));
    }
    if !sig.generics.params.is_empty() || sig.generics.where_clause.is_some() {
        let text = format!("a handler has no generic parameters: `{SHAPE}`");
        return Err(Error::new_spanned(&sig.generics, text));
    }
    if let Some(receiver) = sig.receiver() {
        let text =
            "a handler is a free function, not a method; for state, implement `Handler` and call it from one";
        return Err(Error::new_spanned(receiver, text));
    }
    if sig.inputs.len() != 2 {
        let text = format!("a handler takes two arguments, not {}: `{SHAPE}`", sig.inputs.len());
        return Err(Error::new(sig.paren_token.span.join(), text));
    }
    if matches!(sig.output, ReturnType::Default) {
        let text = format!("a handler returns a Result: `{SHAPE}`");
        return Err(Error::new(sig.paren_token.span.close(), text));
    }
    Ok(())
}

/// Type errors point at the signature, not at `#[handler]`.
fn signature_span(sig: &Signature) -> Span {
    sig.ident.span().resolved_at(Span::mixed_site())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(item: TokenStream) -> String {
        expand(TokenStream::new(), item).expect_err("this shape is refused").to_string()
    }

    #[test]
    fn the_right_shape_gets_an_export() {
        let item = quote!(
            pub fn greet(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
                Ok(())
            }
        );
        let added = expand(TokenStream::new(), item).expect("the right shape").to_string();
        assert!(added.contains("\"serve_http\""), "{added}");
        assert!(added.contains("= greet"), "{added}");
        assert!(added.contains("incoming_handler :: Guest"), "{added}");
        assert!(added.contains("\"WASMUX_ROUTES_WASMUX_SDK_MACROS\""), "{added}");
    }

    #[test]
    fn wrong_shapes_are_told_what_to_write() {
        let table = [
            (
                quote!(
                    async fn f(w: &mut W, r: &mut R) -> Result<()> {}
                ),
                "not async",
            ),
            (
                quote!(
                    unsafe fn f(w: &mut W, r: &mut R) -> Result<()> {}
                ),
                "safe function",
            ),
            (
                quote!(
                    fn f<T>(w: &mut W, r: &mut R) -> Result<()> {}
                ),
                "no generic parameters",
            ),
            (
                quote!(
                    fn f(&self, r: &mut R) -> Result<()> {}
                ),
                "free function",
            ),
            (
                quote!(
                    fn f() -> Result<()> {}
                ),
                "two arguments, not 0",
            ),
            (
                quote!(
                    fn f(r: &mut R) -> Result<()> {}
                ),
                "two arguments, not 1",
            ),
            (
                quote!(
                    fn f(w: &mut W, r: &mut R) {}
                ),
                "returns a Result",
            ),
            (
                quote!(
                    struct S;
                ),
                "goes on a function",
            ),
        ];
        for (item, want) in table {
            let text = refusal(item);
            assert!(text.contains(want), "{text:?} lacks {want:?}");
        }
    }

    #[test]
    fn arguments_are_refused() {
        let item = quote!(
            fn f(w: &mut W, r: &mut R) -> Result<()> {}
        );
        let error = expand(quote!(path = "/"), item).expect_err("no arguments");
        assert!(error.to_string().contains("no arguments"));
    }
}
