//! `#[warm_up]`: an export that the host calls once, when it takes the snapshot of a core module.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, ReturnType, spanned::Spanned};

const SHAPE: &str = "fn warm_up()";

/// What is added behind the function.
pub(super) fn expand(args: &TokenStream, item: TokenStream) -> syn::Result<TokenStream> {
    if !args.is_empty() {
        return Err(Error::new_spanned(args, "#[warm_up] takes no arguments"));
    }
    let span = item.span();
    let function: ItemFn = syn::parse2(item)
        .map_err(|_| Error::new(span, format!("#[warm_up] goes on a function: `{SHAPE}`")))?;
    let sig = &function.sig;
    let is_plain = sig.asyncness.is_none() && sig.unsafety.is_none() && sig.generics.params.is_empty();
    if !is_plain || !sig.inputs.is_empty() || !matches!(sig.output, ReturnType::Default) {
        let text = format!("what warms up is a plain function without arguments and result: `{SHAPE}`");
        return Err(Error::new_spanned(sig, text));
    }
    let name = &sig.ident;
    Ok(quote! {
        const _: () = {
            #[cfg(all(target_family = "wasm", not(target_env = "p2")))]
            #[unsafe(export_name = "wasmux_warm_up")]
            extern "C" fn export() {
                #name();
            }
            const _: fn() = #name; // so that the function counts as used
        };
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_function_gets_an_export() {
        let item = quote!(
            fn tables() {}
        );
        let added = expand(&TokenStream::new(), item).expect("the right shape").to_string();
        assert!(added.contains("\"wasmux_warm_up\"") && added.contains("tables ()"), "{added}");
    }

    #[test]
    fn others_are_told_what_to_write() {
        let table = [
            quote!(
                async fn f() {}
            ),
            quote!(
                fn f(x: u32) {}
            ),
            quote!(
                fn f() -> u32 {}
            ),
            quote!(
                fn f<T>() {}
            ),
            quote!(
                struct S;
            ),
        ];
        for item in table {
            let error = expand(&TokenStream::new(), item).expect_err("this shape is refused").to_string();
            assert!(error.contains(SHAPE), "{error}");
        }
        let item = quote!(
            fn f() {}
        );
        let error = expand(&quote!(now), item).expect_err("no arguments").to_string();
        assert!(error.contains("no arguments"), "{error}");
    }
}
