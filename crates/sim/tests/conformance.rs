//! The simulation's store is a store like any other.

use std::collections::BTreeMap;
use std::sync::Mutex;

use ropewalk_sim::SimStore;

#[test]
fn the_simulated_store_meets_every_demand() {
    let by_name: Mutex<BTreeMap<String, SimStore>> = Mutex::default();
    ropewalk_store::conformance::exercise(|name| {
        by_name.lock().expect("no case panics while it opens").entry(name.to_owned()).or_default().clone()
    });
}
