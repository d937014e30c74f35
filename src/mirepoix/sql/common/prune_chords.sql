-- Ended chords are kept for a while, so that a late member is recognised.
DELETE FROM mirepoix_chord WHERE state <> 'waiting' AND ended_at < {earlier :older_than_s}
