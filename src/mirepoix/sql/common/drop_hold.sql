-- Resume something. The row count says whether it was paused.
DELETE FROM mirepoix_hold
 WHERE kind = :kind AND value = :value
