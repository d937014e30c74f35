-- The first slot from the given one on that is not full: the slot itself, or the slot after a full one.
SELECT c.slot_ms
  FROM (SELECT :from_ms AS slot_ms
         UNION ALL
        SELECT slot_ms + :width_ms
          FROM mirepoix_budget
         WHERE destination = :destination AND slot_ms >= :from_ms AND taken >= :most) AS c
 WHERE NOT EXISTS (SELECT 1 FROM mirepoix_budget AS f
                    WHERE f.destination = :destination AND f.slot_ms = c.slot_ms AND f.taken >= :most)
 ORDER BY c.slot_ms
 LIMIT 1
