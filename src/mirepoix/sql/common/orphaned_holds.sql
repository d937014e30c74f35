-- What holds tasks although it is not paused any more: a resume was killed, or a worker held tasks at the same moment.
SELECT DISTINCT t.held_by
  FROM mirepoix_task AS t
 WHERE t.state = 'pending' AND t.due_at = {held_until}
   AND t.held_by NOT IN (SELECT {hold h} FROM mirepoix_hold AS h)
