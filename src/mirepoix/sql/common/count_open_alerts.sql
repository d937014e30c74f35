-- The number of open alerts by kind.
SELECT kind, count(*) AS alerts FROM mirepoix_alert WHERE closed_at IS NULL GROUP BY kind
