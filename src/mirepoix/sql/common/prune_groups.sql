DELETE FROM mirepoix_group WHERE expires_at < {now}
