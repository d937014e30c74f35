-- A moment by the ledger's clock, as the database writes it. It is only good for comparisons.
SELECT {as_text {earlier :age_s}} AS moment
