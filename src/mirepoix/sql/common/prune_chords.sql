-- Ended chords are remembered for a while, so that a member that comes back late is known to be late.
DELETE FROM mirepoix_chord WHERE state <> 'waiting' AND ended_at < {earlier :older_than_s}
