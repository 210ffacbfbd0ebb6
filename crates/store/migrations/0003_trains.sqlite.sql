-- The merge queue is asked for by state; ever more candidates have landed.
create index candidate_by_state on candidate (state, task, number);

-- JSON: the files that a task means to touch.
alter table task add column scope text;
