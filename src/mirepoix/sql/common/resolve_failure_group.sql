-- A person says that the cause is fixed, perhaps by a release. A later failure opens the group again.
UPDATE mirepoix_failure_group
   SET state = 'resolved', resolved_in = :resolved_in, ignored_until = NULL, ignored_to = NULL, ignored_per_hour = NULL,
       decided_at = {now}, decided_by = :decided_by, note = :note
 WHERE id = :id
RETURNING id, title
