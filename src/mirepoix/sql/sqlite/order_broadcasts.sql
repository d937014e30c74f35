-- The write lock already orders them.
SELECT 1 AS ordered
