//! Rows of stories.

use ropewalk_core::id::{PrdNumber, StoryId, TaskId};
use ropewalk_core::row::Story;
use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::sql::{all, limit, number, one, run, signed, text};

macro_rules! story_columns {
    () => {
        "task, prd, position, id, claimed, hash, title, body"
    };
}

pub(crate) fn put(connection: &Connection, story: &Story) -> Result<(), Fault> {
    const SQL: &str = "insert into story (task, prd, position, folded, id, claimed, hash, title, body)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        on conflict (prd, folded) do update set task = excluded.task, position = excluded.position,
            id = excluded.id, claimed = excluded.claimed, hash = excluded.hash, title = excluded.title,
            body = excluded.body";
    let params = params![
        signed(story.task.0)?,
        story.prd.0,
        story.position,
        story.id.folded(),
        story.id.as_str(),
        story.claimed,
        story.hash.cast_signed(),
        story.title,
        story.body,
    ];
    run(connection, SQL, params)?;
    Ok(())
}

pub(crate) fn remove(connection: &Connection, prd: PrdNumber, task: TaskId) -> Result<(), Fault> {
    const SQL: &str = "delete from story where task = $1 and prd = $2";
    run(connection, SQL, params![signed(task.0)?, prd.0])?;
    Ok(())
}

pub(crate) fn list(
    connection: &Connection,
    prd: PrdNumber,
    from: u32,
    most: usize,
) -> Result<Vec<Story>, Fault> {
    const SQL: &str = concat!(
        "select ",
        story_columns!(),
        " from story where prd = $1 and position >= $2 order by position, task limit $3"
    );
    all(connection, SQL, params![prd.0, from, limit(most)], read)
}

pub(crate) fn get(connection: &Connection, prd: PrdNumber, id: &StoryId) -> Result<Option<Story>, Fault> {
    const SQL: &str = concat!("select ", story_columns!(), " from story where prd = $1 and folded = $2");
    one(connection, SQL, params![prd.0, id.folded()], read)
}

/// Titles in the file's order; stops reading once they are longer than `bytes_max` together.
pub(crate) fn titles(
    connection: &Connection,
    prd: PrdNumber,
    bytes_max: usize,
) -> Result<Vec<String>, Fault> {
    const SQL: &str = "select title from story where prd = $1 order by position, task";
    let mut statement = connection.prepare_cached(SQL)?;
    let mut rows = statement.query([prd.0])?;
    let (mut titles, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()?.filter(|_| bytes <= bytes_max) {
        let title = text(row, 0)?.to_owned();
        bytes += title.len();
        titles.push(title);
    }
    Ok(titles)
}

fn read(row: &Row<'_>) -> Result<Story, Fault> {
    let id = text(row, 3)?;
    Ok(Story {
        task: TaskId(number(row, 0)?),
        prd: PrdNumber(number(row, 1)?),
        position: number(row, 2)?,
        id: StoryId::new(id).map_err(|e| Fault::Damaged(format!("a story's id: {e}")))?,
        claimed: row.get(4)?,
        hash: row.get::<_, i64>(5)?.cast_unsigned(),
        title: row.get(6)?,
        body: row.get(7)?,
    })
}
