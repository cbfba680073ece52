//! Says of numbers below two million whether they are prime, from a table that it builds first; and what an instance must not
//! have from another one.

use std::hash::{BuildHasher as _, RandomState};
use std::io::Write as _;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use wasmux_sdk::{Request, ResponseWriter, Result, StatusCode, error};

/// Two million bytes, which takes milliseconds.
static IS_PRIME: LazyLock<Vec<bool>> = LazyLock::new(|| {
    let mut table = vec![true; 2_000_000];
    table[..2].fill(false);
    let mut number = 2;
    while number * number < table.len() {
        if table[number] {
            table[number * number..].iter_mut().step_by(number).for_each(|is_prime| *is_prime = false);
        }
        number += 1;
    }
    table
});

/// How often this instance was warmed up, and how many requests it has seen.
static WARMED_UP: AtomicU32 = AtomicU32::new(0);
static REQUESTS: AtomicU32 = AtomicU32::new(0);

/// When it was.
static SINCE: LazyLock<Instant> = LazyLock::new(Instant::now);

#[wasmux_sdk::warm_up]
fn warm_up() {
    println!("{} primes", IS_PRIME.iter().filter(|&&is_prime| is_prime).count());
    LazyLock::force(&SINCE);
    WARMED_UP.fetch_add(1, Ordering::Relaxed);
}

#[wasmux_sdk::handler]
fn serve_http(w: &mut ResponseWriter, r: &mut Request) -> Result<()> {
    let requests = REQUESTS.fetch_add(1, Ordering::Relaxed) + 1;
    let text = match r.path_value("what") {
        "instance" => format!("warmed up {}, request {requests}", WARMED_UP.load(Ordering::Relaxed)),
        "random" => RandomState::new().hash_one(0).to_string(),
        "env" => std::env::var("NAME").unwrap_or_default(),
        // The clock began anew, and yet nothing is later than now.
        "clock" => (Instant::now().checked_duration_since(*SINCE).is_some()).to_string(),
        number => match number.parse().ok().and_then(|number: usize| IS_PRIME.get(number)) {
            Some(is_prime) => is_prime.to_string(),
            None => return error(w, "no such number", StatusCode::NOT_FOUND),
        },
    };
    w.write_all(text.as_bytes())?;
    Ok(())
}
