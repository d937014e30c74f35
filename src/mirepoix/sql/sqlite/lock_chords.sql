-- SQLite has one writer at a time, so there is nothing to lock.
SELECT group_id
  FROM mirepoix_chord
 WHERE group_id IN (SELECT value FROM json_each(:group_ids)) AND state = 'waiting'
