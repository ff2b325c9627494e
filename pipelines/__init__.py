"""From a Bitrix24 portal to published marts and reports: extract, check, build, publish, report."""
