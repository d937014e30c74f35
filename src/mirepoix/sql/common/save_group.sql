INSERT INTO mirepoix_group (group_id, result, expires_at) VALUES (:group_id, :result, {later :expires_s})
    ON CONFLICT (group_id) DO UPDATE SET result = excluded.result, saved_at = {now}, expires_at = excluded.expires_at
