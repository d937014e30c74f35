-- A payload as it stands, and what tells whether it stands so still when it is edited.
SELECT state, generation, fence, name, version, content_type, body_encoding, body, {as_text headers} AS headers
  FROM mirepoix_task
 WHERE id = :task_id
