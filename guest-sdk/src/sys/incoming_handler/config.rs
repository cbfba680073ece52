//! Configuration as `wasi:config/store` has it.

use self::bindings::wasi::config::store;

mod bindings {
    wit_bindgen::generate!({
        inline: "
            package wasi:config@0.2.0-rc.1;
            interface store {
                variant error { upstream(string), io(string) }
                get: func(key: string) -> result<option<string>, error>;
                get-all: func() -> result<list<tuple<string, string>>, error>;
            }
            world configured { import store; }
        ",
        generate_all,
    });
}

pub(crate) fn get(name: &str) -> Option<String> {
    store::get(name).ok().flatten()
}

pub(crate) fn all() -> Vec<(String, String)> {
    let mut values = store::get_all().unwrap_or_default();
    values.sort();
    values
}
