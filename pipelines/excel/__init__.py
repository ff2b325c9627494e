"""Excel workbooks of the reports, written from the published marts."""
