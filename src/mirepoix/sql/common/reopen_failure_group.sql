-- A person takes back that the group is resolved or ignored.
UPDATE mirepoix_failure_group
   SET state = 'open', resolved_in = NULL, ignored_until = NULL, ignored_to = NULL, ignored_per_hour = NULL,
       decided_at = {now}, decided_by = :decided_by, note = :note
 WHERE id = :id
RETURNING id, title
