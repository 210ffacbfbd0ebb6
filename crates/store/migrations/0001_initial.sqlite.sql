-- Columns: what is filtered, joined or counted. JSON text: the rest. Instants are milliseconds, and every
-- integer fits a BIGINT, so that the PostgreSQL twin of this file can have the same columns.

create table project (
    id integer primary key,
    body text not null
) strict;

create table prd (
    number integer primary key,
    project integer not null,
    folded text not null,
    state text not null,
    body text not null
) strict;
create index prd_by_key on prd (folded);
create index prd_by_project on prd (project);

-- Apart from `prd`, so that a move of a PRD does not rewrite its whole document.
create table prd_content (
    prd integer primary key,
    source text,
    -- SHA-256 of what the search index holds of it; empty: nothing yet.
    indexed text not null default '',
    body text not null
) strict;
create index prd_content_by_source on prd_content (source) where source is not null;

-- How many implement tasks of a PRD are in which state. Kept by the writer in the same commit as the tasks, so
-- that a list of PRDs reads one row for each of them however many stories it has.
create table progress (
    prd integer primary key,
    blocked integer not null,
    ready integer not null,
    leased integer not null,
    landing integer not null,
    done integer not null,
    parked integer not null,
    cancelled integer not null
) strict;

create table task (
    id integer primary key,
    version integer not null,
    state text not null,
    attempts integer not null,
    failures integer not null,
    conflicts integer not null,
    losses integer not null,
    -- The state's own data.
    detail text not null,
    project integer,
    prd integer,
    kind text not null,
    -- Of kind command only.
    folder text,
    priority integer not null,
    created_at integer not null,
    story text,
    title text not null,
    settings text not null
) strict;
create index task_by_state on task (state);
create index task_by_prd on task (prd) where prd is not null;
create index task_by_project on task (project) where project is not null;

-- `on_task` may name a task that comes later in the same commit, hence no foreign key on it.
create table dependency (
    task integer not null references task (id),
    position integer not null,
    on_task integer not null,
    primary key (task, position)
) strict, without rowid;
create index dependency_by_on_task on dependency (on_task, task);

-- A story has one task, and tasks are numbered in the file's order: keyed by it, an import appends.
create table story (
    task integer primary key references task (id),
    prd integer not null,
    position integer not null,
    folded text not null,
    id text not null,
    claimed integer not null,
    -- An unsigned 64-bit number, kept as the signed one of the same bits.
    hash integer not null,
    title text not null,
    body text not null
) strict;
create unique index story_by_id on story (prd, folded);
create index story_by_position on story (prd, position);

create table attempt (
    task integer not null references task (id),
    number integer not null,
    state text not null,
    body text not null,
    primary key (task, number)
) strict;

create table candidate (
    task integer not null references task (id),
    number integer not null,
    state text not null,
    body text not null,
    primary key (task, number)
) strict;

-- Nothing is ever deleted from it, so the next number is the greatest + 1, and a rolled back one comes again.
create table note (
    seq integer primary key,
    at integer not null,
    kind text not null,
    prd integer,
    task integer,
    attempt integer,
    text text not null
) strict;
create index note_by_prd on note (prd) where prd is not null;
create index note_by_task on note (task) where task is not null;

-- The latest instant in any row, in one row.
create table latest (
    only integer primary key check (only = 1),
    instant integer not null
) strict;
insert into latest (only, instant) values (1, 0);

-- What a search finds. It holds words that Rust has cut and folded (see text.rs); this tokenizer only parts them
-- at the spaces, so search and `Query::matches` agree to the letter. Without content: the rows are the truth.
create virtual table prd_text using fts5 (
    name, about, stories, tags,
    tokenize = 'ascii', prefix = '2 3', content = '', contentless_delete = 1
);
