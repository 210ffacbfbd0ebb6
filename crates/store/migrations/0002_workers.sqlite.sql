-- What ended the latest attempts against their will, and how often in a row; what the next one goes on from.

alter table task rename column losses to repeats;
-- JSON: core's `Fault`, and its `Resume`.
alter table task add column fault text;
alter table task add column resume text;
-- Rows of before counted losses only.
update task set fault = '"lost"' where repeats > 0;

create table checkpoint (
    task integer not null references task (id),
    attempt integer not null,
    number integer not null,
    at integer not null,
    body text not null,
    primary key (task, attempt, number)
) strict, without rowid;

-- Two looks at one instant are one.
create table sample (
    at integer primary key,
    body text not null
) strict;
