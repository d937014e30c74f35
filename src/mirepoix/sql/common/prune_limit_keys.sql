-- Delete the keys that nobody has used for a while. A worker that meets one again makes it again.
DELETE FROM mirepoix_limit_key WHERE kept_until < {now}
