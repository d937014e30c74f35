SELECT result FROM mirepoix_group WHERE group_id = :group_id
