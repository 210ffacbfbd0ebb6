//! The loop's body: decide, apply, record, act. The daemon's driver and the simulator both run this.

use crate::command::{Command, Refusal, RefusalKind};
use crate::engine::{Engine, Known, Step, Wants};
use crate::event::Event;
use crate::id::PrdKey;
use crate::port::{Read, Store, StoreError, World};
use crate::time::Time;

/// Handles all that has happened since the last turn: one commit for all of it, and only then the effects and
/// the answers.
///
/// # Errors
/// When the store refuses or fails. Nothing of the turn was acknowledged or acted upon, except what an earlier
/// commit of the same turn holds; the engine no longer agrees with the store and must be rebuilt from it
/// ([`start`]). Askers get a refusal.
pub fn turn(
    engine: &mut Engine,
    store: &mut impl Store,
    world: &mut impl World,
    now: Time,
    events: impl IntoIterator<Item = Event>,
) -> Result<(), StoreError> {
    let mut turn = Step::default();
    for event in events {
        let known = match &event {
            Event::Command { command, .. } => match engine.wants(command) {
                Wants::Nothing => Known::default(),
                _ => {
                    // What the command reads must include what this turn has decided so far; and what has
                    // ended by then is no longer in memory, so the question is put again.
                    record_and_act(engine, store, world, std::mem::take(&mut turn))?;
                    read(store, engine.wants(command), command)?
                }
            },
            _ => Known::default(),
        };
        append(&mut turn, engine.decide(now, event, known));
    }
    append(&mut turn, engine.schedule(now));
    record_and_act(engine, store, world, turn)
}

/// Builds the engine from the store, lets the caller set what is not durable (slots, focus), and asks again for
/// all that was on its way.
///
/// # Errors
/// When the store cannot be read or written.
pub fn start(
    limits: crate::limits::Limits,
    store: &mut impl Store,
    world: &mut impl World,
    now: Time,
    set_up: impl FnOnce(&mut Engine),
) -> Result<Engine, StoreError> {
    let mut engine = Engine::restore(limits, store.load()?);
    set_up(&mut engine);
    let mut step = engine.recover(now);
    append(&mut step, engine.schedule(now));
    record_and_act(&mut engine, store, world, step)?;
    Ok(engine)
}

fn record_and_act(
    engine: &mut Engine,
    store: &mut impl Store,
    world: &mut impl World,
    step: Step,
) -> Result<(), StoreError> {
    if !step.changes.is_empty()
        && let Err(error) = store.commit(&step.changes)
    {
        for (to, _) in step.replies {
            let text = format!("not stored, hence not done: {error}");
            world.reply(to, Err(Refusal::new(RefusalKind::Failed, text)));
        }
        return Err(error);
    }
    engine.forget_finished();
    for effect in step.effects {
        world.perform(effect);
    }
    for (to, answer) in step.replies {
        world.reply(to, answer);
    }
    Ok(())
}

fn append(turn: &mut Step, step: Step) {
    turn.changes.extend(step.changes);
    turn.effects.extend(step.effects);
    turn.replies.extend(step.replies);
}

/// Reads what a command speaks of and the engine does not hold.
fn read(store: &impl Read, wants: Wants, command: &Command) -> Result<Known, StoreError> {
    let mut known = Known::default();
    match (wants, command) {
        (Wants::Nothing, _) => {}
        (Wants::Tasks(ids), _) => {
            let asked = store.tasks_by_id(&ids)?;
            // What they depend on, first: the engine takes a dependency that it does not hold as met.
            let on: Vec<_> = asked.iter().flat_map(|task| task.depends_on.iter().copied()).collect();
            known.tasks = store.tasks_by_id(&on)?;
            known.tasks.extend(asked);
            for prd in
                known.tasks.iter().filter_map(|task| task.prd).collect::<std::collections::BTreeSet<_>>()
            {
                known.prds.extend(store.prd(prd)?.map(|(prd, _, progress)| (prd, progress)));
            }
        }
        (Wants::Checkpoints(task), _) => {
            known = read(store, Wants::Tasks(vec![task]), command)?;
            known.checkpoints = store.checkpoints(task)?;
        }
        (Wants::Prd(number), _) => {
            known.prds.extend(store.prd(number)?.map(|(prd, _, progress)| (prd, progress)))
        }
        (Wants::Import { next }, Command::ImportPrd(import)) => read_import(store, import, next, &mut known)?,
        (Wants::Import { .. }, _) => {}
    }
    Ok(known)
}

fn read_import(
    store: &impl Read,
    import: &crate::command::ImportPrd,
    next: u32,
    known: &mut Known,
) -> Result<(), StoreError> {
    let given = import.key.as_ref().or(import.document.key.as_ref());
    let of_project = |key: &PrdKey| -> Result<_, StoreError> {
        Ok(store.prds_by_key(key)?.into_iter().find(|prd| prd.project == import.project))
    };
    let found = match (given, &import.source) {
        (Some(key), _) => of_project(key)?,
        (None, Some(source)) => store.prd_by_source(import.project, source)?,
        (None, None) => None,
    };
    if let Some(prd) = found {
        known.stories = store.stories(prd.number, 0, usize::MAX)?;
        let ids: Vec<_> = known.stories.iter().map(|story| story.task).collect();
        known.tasks = store.tasks_by_id(&ids)?;
        if let Some((prd, content, progress)) = store.prd(prd.number)? {
            known.prds.push((prd, progress));
            known.source = content.source;
        }
        return Ok(());
    }
    for number in next.. {
        let Ok(key) = PrdKey::new(&format!("PRD-{number:03}")) else { break };
        if store.prds_by_key(&key)?.is_empty() {
            known.free_key = Some(key);
            break;
        }
    }
    Ok(())
}
