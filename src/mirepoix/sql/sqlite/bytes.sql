-- The size of the ledger on disk: the whole file, including free pages.
SELECT page_count * page_size AS bytes FROM pragma_page_count(), pragma_page_size()
