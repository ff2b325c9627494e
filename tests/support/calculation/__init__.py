"""An independent calculation of every metric, straight from the portal's rows.

It shares no code with the dbt project, so only the same mistake in both would stay unnoticed.

    portal = Portal.read(data_dir)
    facts = calculate(portal, Settings(), as_of)
    facts.metric("leads_received", period=(date(2026, 3, 1), date(2026, 3, 31)))
"""

from tests.support.calculation.bridge import portal_bridge
from tests.support.calculation.facts import calculate
from tests.support.calculation.metrics import Facts
from tests.support.calculation.portal import Portal
from tests.support.calculation.quality import data_quality
from tests.support.calculation.settings import Settings

__all__ = ["Facts", "Portal", "Settings", "calculate", "data_quality", "portal_bridge"]
