-- Someone says that the cause is mended, perhaps by a release: what fails afterwards opens it again.
UPDATE mirepoix_failure_group
   SET state = 'resolved', resolved_in = :resolved_in, ignored_until = NULL, ignored_to = NULL, ignored_per_hour = NULL,
       decided_at = {now}, decided_by = :decided_by, note = :note
 WHERE id = :id
RETURNING id, title
