-- What ended the latest attempts against their will, and how often in a row; what the next one goes on from.

alter table task rename column losses to repeats;
-- JSON: core's `Fault`, and its `Resume`.
alter table task add column faults integer not null default 0;
alter table task add column fault text;
alter table task add column resume text;
-- Rows of before counted losses only.
update task set fault = '"lost"' where repeats > 0;
update task set detail = json_set(detail,
        '$.reason', json_object(
            'reason', 'same_fault', 'fault', 'lost',
            'repeats', json_extract(detail, '$.reason.losses'),
            'detail', json_extract(detail, '$.reason.detail')))
    where state = 'parked' and json_extract(detail, '$.reason.reason') = 'too_many_losses';

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
