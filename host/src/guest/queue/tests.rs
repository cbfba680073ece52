//! The queue with a clock of the test's.

use super::*;

const TERMS: Terms = Terms {
    concurrency: u32::MAX,
    queue: 100,
    is_slowed: false,
    is_slow: true,
    typical_cpu: Duration::from_millis(10),
};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Lines up where there is no room.
fn waits(queue: &Queue, terms: &Terms, now: Instant) -> (u64, oneshot::Receiver<Told>) {
    assert!(!queue.try_enter(terms));
    match queue.line_up(terms, now).unwrap() {
        Place::AtWork => panic!("there was room"),
        Place::Waits(number, told) => (number, told),
    }
}

/// A queue for two cores with as many at work as may start: four.
fn full() -> Queue {
    let queue = Queue::new(2);
    assert!((0..4).all(|_| queue.try_enter(&TERMS)));
    assert!(!queue.try_enter(&TERMS));
    queue
}

#[test]
fn concurrency_counts_those_at_work_and_the_oldest_comes_first() {
    let queue = Queue::new(100);
    let terms = Terms { concurrency: 2, ..TERMS };
    let now = Instant::now();
    assert!(queue.try_enter(&terms) && queue.try_enter(&terms));
    let (_, mut first) = waits(&queue, &terms, now);
    let (_, mut second) = waits(&queue, &terms, now);
    assert_eq!((queue.running(), queue.waiting()), (2, 2));
    queue.has_started();
    assert!(first.try_recv().is_err(), "it is at work all the same");
    queue.leave();
    assert!(first.try_recv().is_ok() && second.try_recv().is_err());
    queue.leave();
    assert!(second.try_recv().is_ok());
    assert_eq!((queue.running(), queue.waiting()), (2, 0));
}

#[test]
fn the_queue_is_bounded_and_the_gone_leave_it() {
    let queue = Queue::new(100);
    let terms = Terms { concurrency: 1, queue: 2, ..TERMS };
    let now = Instant::now();
    assert!(queue.try_enter(&terms));
    let (number, _first) = waits(&queue, &terms, now);
    let (_, mut second) = waits(&queue, &terms, now);
    assert_eq!(queue.line_up(&terms, now).err(), Some(Limit::Queue));
    assert!(queue.withdraw(number));
    let (_, _third) = waits(&queue, &terms, now);
    queue.leave();
    assert!(second.try_recv().is_ok());
    assert!(!queue.withdraw(1), "it was let in");
}

#[test]
fn without_a_queue_nobody_waits() {
    let queue = Queue::new(100);
    let terms = Terms { concurrency: 1, queue: 0, ..TERMS };
    assert!(queue.try_enter(&terms));
    assert_eq!(queue.line_up(&terms, Instant::now()).err(), Some(Limit::Queue));
    assert_eq!(queue.begin_without_instance(0), Err(Limit::Queue));
    queue.leave();
    queue.has_started();
    assert!(queue.try_enter(&terms));
}

#[test]
fn those_that_wait_for_something_are_no_load() {
    let queue = full();
    queue.has_started();
    assert!(queue.try_enter(&TERMS));
    // One that computes on is.
    queue.begin_computing();
    queue.has_started();
    let (_, mut told) = waits(&queue, &TERMS, Instant::now());
    queue.end_computing();
    assert!(told.try_recv().is_ok());
}

#[test]
fn those_that_are_quick_get_in_beside_some_that_are_not() {
    let queue = Queue::new(1);
    (0..5).for_each(|_| queue.begin_computing());
    assert!(!queue.try_enter(&TERMS));
    let quick = Terms { is_slow: false, ..TERMS };
    assert!(queue.try_enter(&quick) && !queue.try_enter(&quick));
    queue.has_started();
    assert!(queue.try_enter(&quick));
}

#[test]
fn slowed_handlers_start_one_for_each_core() {
    let queue = Queue::new(2);
    let slowed = Terms { is_slowed: true, ..TERMS };
    assert!(queue.try_enter(&slowed) && queue.try_enter(&slowed));
    assert!(!queue.try_enter(&slowed));
    assert!(queue.try_enter(&TERMS));
}

#[test]
fn bursts_wait() {
    let queue = full();
    let now = Instant::now();
    let told: Vec<_> = (0..100).map(|_| waits(&queue, &TERMS, now)).collect();
    assert_eq!(queue.line_up(&TERMS, now + ms(99)).err(), Some(Limit::Queue), "not overload");
    drop(told);
}

#[test]
fn standing_queues_are_no_longer_than_what_is_soon_done() {
    let queue = full();
    let now = Instant::now();
    let (number, _first) = waits(&queue, &TERMS, now);
    assert!(queue.withdraw(number));
    // It was empty for a moment only: it is the same queue. Three for each of two cores may wait.
    let later = now + ms(100);
    let told: Vec<_> = (0..6).map(|_| waits(&queue, &TERMS, later)).collect();
    assert_eq!(queue.line_up(&TERMS, later).err(), Some(Limit::Overload));
    drop(told);
}

#[test]
fn who_has_come_in_a_burst_makes_way_when_the_queue_stands() {
    let queue = full();
    let now = Instant::now();
    let mut told: Vec<_> = (0..8).map(|_| waits(&queue, &TERMS, now).1).collect();
    assert_eq!(queue.line_up(&TERMS, now + ms(100)).err(), Some(Limit::Overload));
    let turned_away = |told: &mut oneshot::Receiver<Told>| told.try_recv() == Ok(Err(Limit::Overload));
    let turned_away: Vec<_> = told.iter_mut().map(turned_away).collect();
    assert_eq!(turned_away, [true, true, false, false, false, false, false, false], "six are soon done");
}

#[test]
fn quick_requests_wait() {
    let queue = full();
    let quick = Terms { is_slow: false, ..TERMS };
    (0..4).for_each(|_| queue.begin_computing());
    let now = Instant::now();
    let told: Vec<_> = (0..50).map(|_| waits(&queue, &quick, now)).collect();
    let (_, _last) = waits(&queue, &quick, now + ms(500));
    drop(told);
}

#[test]
fn waiting_for_others_than_the_cores_is_no_overload() {
    let queue = Queue::new(100);
    let terms = Terms { concurrency: 1, ..TERMS };
    let now = Instant::now();
    assert!(queue.try_enter(&terms));
    queue.has_started();
    let (_, _first) = waits(&queue, &terms, now);
    let (_, _second) = waits(&queue, &terms, now + ms(5_000));
}

/// Many threads come and go; in the end nobody is left, and nobody was forgotten.
#[test]
fn no_turn_is_lost() {
    let queue = std::sync::Arc::new(Queue::new(2));
    let terms = Terms { concurrency: 3, queue: 1_000, typical_cpu: Duration::ZERO, ..TERMS };
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let queue = std::sync::Arc::clone(&queue);
            std::thread::spawn(move || {
                let mut turns = 0;
                while turns < 2_000 {
                    if !queue.try_enter(&terms) {
                        match queue.line_up(&terms, Instant::now()) {
                            Ok(Place::AtWork) => {}
                            Ok(Place::Waits(_, told)) => {
                                if told.blocking_recv().unwrap().is_err() {
                                    continue;
                                }
                            }
                            Err(limit) => {
                                assert_eq!(limit, Limit::Overload);
                                continue;
                            }
                        }
                    }
                    assert!(queue.running() <= 3);
                    queue.has_started();
                    queue.leave();
                    turns += 1;
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((queue.running(), queue.waiting()), (0, 0));
    assert_eq!(queue.starting.load(Ordering::SeqCst), 0);
}
