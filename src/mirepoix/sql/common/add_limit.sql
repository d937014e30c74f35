-- Record a limit. If it is there already, another process has recorded it meanwhile.
INSERT INTO mirepoix_limit (name, running, rate, period_s, is_weighted, source, code, changed_at, changed_by)
VALUES (:name, :running, :rate, :period_s, :is_weighted, :source, :code, {now}, :by)
    ON CONFLICT (name) DO NOTHING
