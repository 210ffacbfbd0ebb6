//! What a train's verdicts mean. Knows the order of its cars and how often each was red; unaware of queues and tasks.
//!
//! A train is a chain of merges, each onto the one before. Only its checks' verdicts are stored, with each car; what to
//! check next follows from them, so a restart asks for the same again. At first the head is checked, the last car: green,
//! all land at once. Red, the half before it, and so on. A car whose merge is red while what it stands on has landed is
//! checked once more before it is blamed: a verdict is used twice only where it says red, and never to blame.
//! (Speculative batches with bisection are those of Bors-NG and Zuul.)

use crate::candidate::Candidate;
use crate::id::AttemptId;

/// What is to be done with a train that is being checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Run the checks on this car's merge, for the `run`th time.
    Check { place: usize, run: u32 },
    /// The first car is at fault.
    Blame,
}

/// Runs that must be red before a car is blamed. The second tells a flaky check from a fault.
pub(super) const REDS_TO_BLAME: u32 = 2;

/// `reds`: how often each car's merge was red, in the train's order.
pub(super) fn next(reds: &[u32]) -> Option<Next> {
    let last = reds.len().checked_sub(1)?;
    let next = match reds.iter().position(|reds| *reds > 0) {
        None => Next::Check { place: last, run: 1 },
        Some(0) if reds[0] >= REDS_TO_BLAME => Next::Blame,
        Some(0) => Next::Check { place: 0, run: reds[0] + 1 },
        // The middle of those before it; it is red because of one of them or by itself.
        Some(red) => Next::Check { place: red.div_ceil(2) - 1, run: 1 },
    };
    Some(next)
}

/// The cars in the order in which each stands on the one before.
pub(super) fn in_order(mut cars: Vec<&Candidate>) -> Vec<AttemptId> {
    let mut order = Vec::with_capacity(cars.len());
    while let Some(first) = cars.iter().position(|car| {
        let onto = car.merged().map(|merged| &merged.onto);
        // One that the target holds already stands on itself.
        let stands_on =
            |other: &&Candidate| other.id != car.id && other.merged().map(|merged| &merged.commit) == onto;
        !cars.iter().any(stands_on)
    }) {
        order.push(cars.swap_remove(first).id);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a train against checks that are red from the first faulty car on; gives who is blamed first, how many
    /// land before, and the runs.
    fn play(cars: usize, faulty: Option<usize>) -> (Option<usize>, usize, u32) {
        let mut reds = vec![0; cars];
        let (mut landed, mut runs) = (0, 0);
        loop {
            match next(&reds[landed..]) {
                None => return (None, landed, runs),
                Some(Next::Blame) => return (Some(landed), landed, runs),
                Some(Next::Check { place, .. }) => {
                    runs += 1;
                    let place = landed + place;
                    if faulty.is_some_and(|faulty| faulty <= place) {
                        reds[place] += 1
                    } else {
                        landed = place + 1
                    }
                }
            }
        }
    }

    #[test]
    fn a_green_train_lands_whole_after_one_run() {
        for cars in 1..=40 {
            assert_eq!(play(cars, None), (None, cars, 1));
        }
    }

    #[test]
    fn the_faulty_car_is_blamed_and_no_other_and_all_before_it_land() {
        for cars in 1..=40_usize {
            for faulty in 0..cars {
                let (blamed, landed, runs) = play(cars, Some(faulty));
                assert_eq!((blamed, landed), (Some(faulty), faulty), "{cars} cars");
                // The head, the halves, and the second look.
                let halves = u32::BITS - (cars as u32 - 1).leading_zeros();
                assert!(runs <= 2 + halves, "{cars} cars, {faulty} faulty: {runs} runs");
            }
        }
    }

    #[test]
    fn a_red_first_car_is_looked_at_once_more() {
        assert_eq!(next(&[1, 0]), Some(Next::Check { place: 0, run: 2 }));
        assert_eq!(next(&[2, 0]), Some(Next::Blame));
        assert_eq!(next(&[]), None);
    }
}
