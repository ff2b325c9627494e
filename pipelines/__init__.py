"""From a Bitrix24 portal to published marts and reports: extract, check, build, publish, report."""

import os

# Read by dlt, dbt, Great Expectations and Evidence when they start, here and in child processes:
# none of them sends telemetry.
os.environ |= {
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "SEND_ANONYMOUS_USAGE_STATS": "no",
    "DO_NOT_TRACK": "1",
}
