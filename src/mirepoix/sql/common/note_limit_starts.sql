-- Remember when tasks of a key began. This transaction has locked the key.
UPDATE mirepoix_limit_key
   SET starts = :starts, kept_until = {later :kept_s}
 WHERE id = :key
