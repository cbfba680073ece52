//! The `#[handler]` attribute. `wasmux-sdk` re-exports it, and its documentation is there.
//!
//! It keeps the function as it is, checks its shape (the types are checked by the compiler, through the function
//! pointer below), and for WebAssembly adds the export that the host calls.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Error, ItemFn, ReturnType, Signature, spanned::Spanned};

const SHAPE: &str = "fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()>";

/// Makes a function the HTTP handler of this module; see `wasmux_sdk::handler`.
#[proc_macro_attribute]
pub fn handler(args: proc_macro::TokenStream, item: proc_macro::TokenStream) -> proc_macro::TokenStream {
    let item = TokenStream::from(item);
    let extra = expand(args.into(), item.clone()).unwrap_or_else(|error| error.into_compile_error());
    // The function stays even when it is refused, so that the compiler has one thing to say and not twenty.
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
    Ok(quote! {
        const _: () = {
            #typed
            #[cfg(target_family = "wasm")]
            #[unsafe(export_name = "serve_http")]
            extern "C" fn export() {
                ::wasmux_sdk::__private::serve(HANDLER);
            }
            #[cfg(not(target_family = "wasm"))]
            const _: #handler_type = HANDLER; // so that the function counts as used
        };
    })
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
