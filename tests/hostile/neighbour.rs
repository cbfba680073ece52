//! Those who have done nothing: their requests must all be answered, whatever happens beside them.

use std::sync::atomic::{AtomicBool, Ordering};

use super::fixtures::Abi;
use crate::support::{Conn, Server};

/// What is asked for again and again, and the answer.
fn questions() -> Vec<(String, String)> {
    let mut questions = vec![("/fixed".to_owned(), "fixed\n".to_owned())];
    for abi in Abi::ALL {
        questions.push((good(abi), good_answer(abi).to_owned()));
    }
    questions
}

/// Where a guest does as it should; its handler is of its own.
pub(crate) fn good(abi: Abi) -> String {
    match abi {
        Abi::Module => "/good/module".to_owned(),
        Abi::P2 => "/good/p2?fault=hello".to_owned(),
        Abi::P3 => "/good/p3?do=hello".to_owned(),
    }
}

/// What it says.
pub(crate) fn good_answer(abi: Abi) -> &'static str {
    match abi {
        Abi::Module => "hello\n",
        Abi::P2 => "hello\n",
        Abi::P3 => "Hello, 0.3!\n",
    }
}

/// Ends the probing, also when what it goes on beside has panicked.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Does `work` while neighbours ask, on fresh connections and on open ones. Each of their requests must succeed; at least
/// one round of them happens.
pub(crate) fn beside<T>(server: &Server, work: impl FnOnce() -> T) -> T {
    let (ended, address) = (AtomicBool::new(false), server.address());
    std::thread::scope(|scope| {
        let ending = Ending(&ended);
        let neighbours = [
            scope.spawn(|| ask(&ended, || Conn::tcp(address), false)),
            scope.spawn(|| ask(&ended, || Conn::tcp(address), true)),
        ];
        let done = work();
        drop(ending);
        for neighbour in neighbours {
            let rounds = neighbour.join().expect("every neighbour is answered");
            assert!(rounds > 0, "the neighbours have asked");
        }
        done
    })
}

/// Asks until it is over; how many rounds that were. With `keep`, on one connection for each question.
fn ask(ended: &AtomicBool, connect: impl Fn() -> Conn, keep: bool) -> u32 {
    let questions = questions();
    let mut open: Vec<_> = questions.iter().map(|_| connect()).collect();
    let mut rounds = 0;
    loop {
        for (conn, (target, answer)) in open.iter_mut().zip(&questions) {
            if !keep {
                *conn = connect();
            }
            conn.request("GET", target, &[], b"");
            let response = conn.response();
            assert_eq!((response.status, &*response.text()), (200, &**answer), "{target}");
        }
        rounds += 1;
        if ended.load(Ordering::Relaxed) {
            return rounds;
        }
    }
}
