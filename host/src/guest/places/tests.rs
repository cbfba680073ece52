//! Handlers that want more than there is.

use super::*;

/// Places for so many handlers.
fn places(capacity: u32, handlers: usize) -> (Arc<Places>, Vec<UserId>) {
    let ledger = Arc::new(Ledger::default());
    let places = Arc::new(Places::new(capacity, &ledger));
    let users = (0..handlers).map(|index| {
        let share = ledger.share(&index.to_string().into());
        ledger.enlist(&share);
        places.user(&share)
    });
    let users = users.collect();
    (places, users)
}

fn take(places: &Arc<Places>, user: UserId, count: usize) -> Vec<Taken> {
    (0..count).map(|number| places.try_take(user, 1).unwrap_or_else(|| panic!("place {number}"))).collect()
}

#[test]
fn one_handler_has_all() {
    let (places, users) = places(8, 1);
    let taken = take(&places, users[0], 8);
    assert!(places.try_take(users[0], 1).is_none());
    assert_eq!(places.counts(), (8, 8));
    drop(taken);
    assert_eq!(places.counts(), (8, 0));
}

#[test]
fn the_last_quarter_is_for_those_with_less_than_their_share() {
    let (places, users) = places(8, 2);
    let _most = take(&places, users[0], 6);
    assert!(places.try_take(users[0], 1).is_none());
    let _rest = take(&places, users[1], 2);
    assert!(places.try_take(users[1], 1).is_none());
}

#[test]
fn who_has_the_fewest_comes_first() {
    let (places, users) = places(4, 3);
    let mut first = take(&places, users[0], 3);
    let _second = take(&places, users[1], 1);
    let mut waits = [0, 1, 2].map(|index| places.wait(users[index], 1));
    first.pop();
    assert_eq!(waits.each_ref().map(Wait::goes_on), [true, true, false]);
    first.pop();
    // Two handlers have one each; the second has waited for longer than the first would have to.
    assert_eq!(waits.each_ref().map(Wait::goes_on), [false, true, false]);
    drop(first);
    assert_eq!(waits.each_mut().map(|wait| wait.goes_on()), [false, false, false]);
}

#[test]
fn waits_that_are_dropped_leave_nothing_behind() {
    let (places, users) = places(2, 1);
    let mut taken = take(&places, users[0], 2);
    let [first, second, third] = [(); 3].map(|()| places.wait(users[0], 1));
    drop(first);
    taken.pop();
    assert!(!second.goes_on() && third.goes_on());
    drop(second); // which has not heard of it
    assert!(!third.goes_on());
    drop((third, taken));
    assert_eq!(places.counts(), (2, 0));
}

/// One that needs several places is not passed by others for ever.
#[test]
fn several_places_are_waited_for() {
    let (places, users) = places(4, 2);
    let mut taken = take(&places, users[0], 4 - 1);
    let large = places.wait(users[1], 3);
    assert!(large.goes_on());
    assert!(places.try_take(users[0], 1).is_none());
    taken.pop();
    assert!(large.goes_on());
    taken.pop();
    assert!(!large.goes_on());
    drop(large.claim());
    assert_eq!(places.counts(), (4, 1));
}

#[test]
fn others_that_could_have_a_place_are_noticed() {
    let (places, users) = places(8, 2);
    let taken = (take(&places, users[0], 6), take(&places, users[1], 1));
    assert!(!places.others_wait(users[1]));
    let more = places.wait(users[0], 1);
    assert!(!places.others_wait(users[1]), "with one more free it would not get it");
    drop((taken, more));
    let _all = (take(&places, users[1], 4), take(&places, users[0], 4));
    let _wait = places.wait(users[1], 1);
    assert!(!places.others_wait(users[0]), "it has its share");
    let _wait = places.wait(users[0], 1);
    assert!(!places.others_wait(users[0]), "itself is no other");
}

#[tokio::test]
async fn waits_end_when_there_is_a_place() {
    let (places, users) = places(1, 2);
    let taken = places.try_take(users[0], 1);
    let wait = places.wait(users[1], 1);
    drop(taken);
    let taken = wait.taken().await;
    assert_eq!(places.counts(), (1, 1));
    drop(taken);
    assert_eq!(places.counts(), (1, 0));
}
