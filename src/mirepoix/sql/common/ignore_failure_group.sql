-- A person ignores the group: for a time, for a number of failures, or while its rate is low enough.
UPDATE mirepoix_failure_group
   SET state = 'ignored', resolved_in = NULL, ignored_until = CASE WHEN :for_s > 0 THEN {later :for_s} END,
       ignored_to = CASE WHEN :more > 0 THEN failures + :more END,
       ignored_per_hour = CASE WHEN :per_hour > 0 THEN :per_hour END,
       decided_at = {now}, decided_by = :decided_by, note = :note
 WHERE id = :id
RETURNING id, title
