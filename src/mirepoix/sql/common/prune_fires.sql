-- Delete old decisions. The schedule's row says up to when its fire times are decided, so none is decided again.
DELETE FROM mirepoix_fire WHERE fire_at < {earlier :older_than_s} AND state NOT IN ('sent', 'buffered')
