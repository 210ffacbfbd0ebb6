//! What every store must do, as tests that run on any of them. Knows the ports only; unaware of SQL and files.
//!
//! A store's own tests call [`exercise`] with a way to open it by name: opening a name for the first time gives an
//! empty store, opening it again shows everything that was committed under that name. A case opens names of its
//! own, drops what it opened before it opens it again, and panics with what is wrong.
//!
//! What is demanded beyond the ports' own documentation:
//! - A task's `depends_on` comes back in its order, except in [`Read::load`], which leaves out what is done.
//! - Stories, attempts and candidates of a task that is not stored are refused, and so is the move of a PRD that
//!   is not. A task may depend on one that comes later in the same commit.
//! - [`Progress`] counts the tasks of kind implement that bear the PRD's number.
//! - [`Snapshot::last_time`] is the latest instant that has come: the end of a wait (`not_before`) is not one.
//! - A search sees what [`Document`] holds, field by field, and a PRD is found in the commit that changed it.
//!
//! [`Read::load`]: ropewalk_core::port::Read::load
//! [`Progress`]: ropewalk_core::row::Progress
//! [`Snapshot::last_time`]: ropewalk_core::port::Snapshot::last_time
//! [`Document`]: crate::Document

mod lists;
mod loading;
mod refusals;
mod round_trips;
mod sample;
mod searches;

use std::fmt;

use ropewalk_core::port::{Store, StoreError};

/// Opens the store of that name.
pub type Open<'a, S> = &'a dyn Fn(&str) -> S;

/// One demand. Its name is a sentence.
pub struct Case<S> {
    pub name: &'static str,
    pub run: fn(Open<'_, S>),
}

impl<S> fmt::Debug for Case<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

macro_rules! cases {
    ($($module:ident::$case:ident,)*) => {
        /// All the demands.
        pub fn cases<S: Store>() -> Vec<Case<S>> {
            vec![$(Case { name: stringify!($case), run: $module::$case },)*]
        }
    };
}

cases! {
    round_trips::projects_come_back_whole,
    round_trips::prds_come_back_whole_in_every_state,
    round_trips::stories_come_back_whole,
    round_trips::tasks_come_back_whole_in_every_state_and_kind,
    round_trips::a_moved_task_keeps_the_rest_of_its_row,
    round_trips::attempts_come_back_whole_in_every_state,
    round_trips::candidates_come_back_whole_in_every_state,
    round_trips::of_a_tasks_checkpoints_the_latest_stay,
    round_trips::samples_are_listed_by_time_and_forgotten,
    round_trips::notes_come_back_whole_of_every_kind,
    round_trips::the_extremes_of_numbers_and_texts_survive,
    refusals::a_version_that_does_not_follow_on_is_refused,
    refusals::a_refused_commit_leaves_nothing,
    refusals::a_new_task_begins_with_version_one,
    refusals::rows_of_a_missing_task_are_refused,
    refusals::a_move_of_a_missing_prd_is_refused,
    refusals::a_store_goes_on_after_a_refusal,
    refusals::an_empty_commit_is_accepted,
    lists::prds_are_filtered_and_ordered,
    lists::prds_are_found_by_key_whatever_the_case,
    lists::a_prd_is_found_by_its_file,
    lists::stories_are_read_in_pages_and_removed,
    lists::a_story_put_again_is_replaced,
    lists::tasks_are_filtered_ordered_and_limited,
    lists::tasks_are_read_by_id,
    lists::progress_counts_implement_tasks_by_state,
    lists::notes_have_no_gaps_and_the_latest_come_oldest_first,
    loading::an_empty_store_loads_as_nothing,
    loading::load_is_exactly_the_live_part,
    loading::the_latest_instant_of_every_kind_of_row_is_seen,
    loading::everything_is_there_after_opening_again,
    searches::words_phrases_tags_and_operators_find_prds,
    searches::the_best_match_comes_first_and_the_limit_holds,
    searches::a_search_follows_every_change_of_text,
    searches::random_searches_agree_with_the_documents,
}

/// Runs all the demands on a store.
///
/// # Panics
/// When one is not met.
pub fn exercise<S: Store>(open: impl Fn(&str) -> S) {
    for case in cases() {
        (case.run)(&open);
    }
}

#[track_caller]
fn ok<T>(result: Result<T, StoreError>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("the store failed: {error}"),
    }
}

#[track_caller]
fn refused(result: Result<(), StoreError>) {
    assert!(matches!(result, Err(StoreError::Refused { .. })), "it must be refused: {result:?}");
}
