-- PostgreSQL alone has dead rows to be cleaned up, and settings for that.
SELECT 1;
