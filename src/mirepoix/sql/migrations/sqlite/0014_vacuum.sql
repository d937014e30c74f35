-- Only PostgreSQL has dead rows, and settings for their clean-up.
SELECT 1;
