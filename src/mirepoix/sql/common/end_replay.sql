-- How a replay ended. One whose process died says nothing.
UPDATE mirepoix_replay SET ended_at = {now}, outcome = :outcome WHERE id = :id
