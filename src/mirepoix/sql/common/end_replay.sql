-- The end of a replay. If its process died, this is not written.
UPDATE mirepoix_replay SET ended_at = {now}, outcome = :outcome WHERE id = :id
