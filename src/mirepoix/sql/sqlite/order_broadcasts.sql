-- The write lock orders them already.
SELECT 1 AS ordered
