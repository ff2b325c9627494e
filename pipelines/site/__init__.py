"""The data of a site: what the shell in `reports/` shows of a publication."""
