//! Latency at 70 % of what each server reaches, on as many connections.
//!
//! Open loop: requests are sent when the clock says so, whatever has become of those before, and latency counts from that
//! time. One that finds no free connection waits for it, and that counts too; so a server that stops for a while is seen
//! to keep all those waiting that would have come meanwhile.
//!
//! On a machine that others use too, a core is taken away now and then, for longer than any server needs. So each percentile is
//! taken over a tenth of a second, and of those the median counts: a stop that is in most of them is seen, one that comes once
//! a second is not, whosever it is.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::Options;
use crate::load::{WARM_UP, connect, run_load};
use crate::reply::Reply;
use crate::rows::{CONNECTIONS, Row};
use crate::server::Running;
use crate::spread::{Spread, times_native};

/// Of what a closed loop gets through.
const LOAD: f64 = 0.7;

/// What a percentile is taken over; longer where that has fewer requests than these.
const WINDOW: Duration = Duration::from_millis(100);
const WINDOW_REQUESTS: f64 = 400.0;

/// How much of the latency may be the load generator's.
const LATE: f64 = 0.25;

/// Requests that take longer than the run and this are given up, and it with them.
const PATIENCE: Duration = Duration::from_secs(10);

/// One measurement.
struct Sample {
    /// Requests per second that were sent.
    rate: f64,
    p50_us: f64,
    p99_us: f64,
    /// How late 1 % of a window's requests were sent, in µs: more than a little says that the load generator is the limit.
    late_us: f64,
}

/// Measures in rounds and prints the table.
pub(crate) fn run(mut rows: Vec<Row>, options: &Options) {
    if options.only.is_none() {
        rows.retain(|row| row.name == "native hyper" || row.name.contains("serve_http"));
    }
    let mut samples: Vec<Vec<Sample>> = rows.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for (row, samples) in rows.iter().zip(&mut samples) {
            eprint!("\rround {round} of {}: {:<60}", options.rounds, row.name);
            samples.push(measure(row, Duration::from_secs(options.seconds)));
        }
    }
    eprintln!();
    println!("{CONNECTIONS} connections, open loop, {:.0} % of what a closed loop reaches.", LOAD * 100.0);
    println!("Medians of the percentiles of each tenth of a second.\n");
    println!(
        "| server | requests/s | p50 µs | p99 µs (min–max) | × native's p99 (min–max) | sent late, p99 µs |"
    );
    println!("|---|---|---|---|---|---|");
    let mut is_disturbed = false;
    for (index, (row, of_row)) in rows.iter().zip(&samples).enumerate() {
        let median = |value: fn(&Sample) -> f64| Spread::of(of_row.iter().map(value)).median;
        let p99 = Spread::of(of_row.iter().map(|sample| sample.p99_us));
        let ratio = times_native(&rows, &samples, index, |sample| sample.p99_us);
        let (rate, p50, late) =
            (median(|sample| sample.rate), median(|sample| sample.p50_us), median(|sample| sample.late_us));
        is_disturbed |= late > p99.median * LATE;
        println!("| {} | {rate:.0} | {p50:.0} | {p99:.0} | {ratio} | {late:.0} |", row.name);
    }
    if is_disturbed {
        println!(
            "\nRequests were sent late: something else took the load's core, and these figures say nothing."
        );
    }
}

fn measure(row: &Row, length: Duration) -> Sample {
    let server = Running::start(row);
    run_load(server.address, row, WARM_UP);
    let reached = run_load(server.address, row, length) as f64 / length.as_secs_f64();
    let rate = reached * LOAD;
    let requests = open_loop(server.address, row, rate, length);
    let window = WINDOW.max(Duration::from_secs_f64(WINDOW_REQUESTS / rate)).min(length);
    let mut windows = vec![Vec::new(); length.div_duration_f64(window) as usize];
    for request in requests {
        // The last one would be a part of one.
        if let Some(window) = windows.get_mut(request.due.div_duration_f64(window) as usize) {
            window.push(request);
        }
    }
    windows.retain(|window| !window.is_empty());
    let median_of = |part: f64, time: fn(&Request) -> Duration| {
        Spread::of(windows.iter().map(|window| percentile(window.iter().map(time).collect(), part))).median
    };
    Sample {
        rate,
        p50_us: median_of(0.5, |request| request.answered - request.due),
        p99_us: median_of(0.99, |request| request.answered - request.due),
        late_us: median_of(0.99, |request| request.sent - request.due),
    }
}

fn percentile(mut times: Vec<Duration>, part: f64) -> f64 {
    let index = ((times.len() as f64 * part) as usize).min(times.len() - 1);
    times.select_nth_unstable(index).1.as_secs_f64() * 1e6
}

/// When a request was due, sent and answered, from the beginning of the run.
#[derive(Clone, Copy, Default)]
struct Request {
    due: Duration,
    sent: Duration,
    answered: Duration,
}

/// A connection, and its request.
struct Conn {
    stream: TcpStream,
    reply: Reply,
    request: Request,
}

/// Sends `rate` requests a second at random times, as many independent clients would. Never sleeps: the core has nothing
/// else to do, and a timer would be too coarse.
fn open_loop(address: SocketAddr, row: &Row, rate: f64, length: Duration) -> Vec<Request> {
    let open = |_| {
        let stream = connect(address);
        stream.set_nonblocking(true).expect("a socket");
        Conn { stream, reply: Reply::new(), request: Request::default() }
    };
    let mut free: VecDeque<Conn> = (0..row.connections).map(open).collect();
    let mut in_flight = VecDeque::new();
    let mut answered = Vec::new();
    let (start, mut due) = (Instant::now(), Duration::ZERO);
    while due < length || !in_flight.is_empty() {
        let now = start.elapsed();
        assert!(now < length + PATIENCE, "{} requests are not answered", in_flight.len());
        if due <= now
            && due < length
            && let Some(mut conn) = free.pop_front()
        {
            conn.stream.write_all(&row.request).expect("a request is sent");
            conn.request = Request { due, sent: now, answered: now };
            in_flight.push_back(conn);
            // Gaps of a Poisson process.
            due += Duration::from_secs_f64(-(1.0 - rand::random::<f64>()).ln() / rate);
        }
        // One at a time, so that what is due goes out.
        let Some(mut conn) = in_flight.pop_front() else { continue };
        let is_answered = match conn.reply.read(&mut conn.stream) {
            Ok(is_complete) => is_complete,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("an answer comes, not {error}"),
        };
        if is_answered {
            answered.push(Request { answered: start.elapsed(), ..conn.request });
            free.push_back(conn);
        } else {
            in_flight.push_back(conn);
        }
    }
    answered
}
