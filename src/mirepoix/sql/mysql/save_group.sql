INSERT INTO mirepoix_group (group_id, result, expires_at) VALUES (:group_id, :result, {later :expires_s})
    ON DUPLICATE KEY UPDATE result = :result, saved_at = {now}, expires_at = {later :expires_s}
