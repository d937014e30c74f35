-- A payload, and the columns that show whether it has changed before an edit.
SELECT state, generation, fence, name, version, content_type, body_encoding, body, {as_text headers} AS headers
  FROM mirepoix_task
 WHERE id = :task_id
