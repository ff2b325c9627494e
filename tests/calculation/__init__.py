"""An independent calculation of every metric, straight from the portal's rows.

It shares no code with the dbt project, so that two mistakes would have to agree to pass unseen.

    portal = Portal.read(data_dir)
    facts = calculate(portal, Settings(), as_of)
    facts.metric("leads_received", period=(date(2026, 3, 1), date(2026, 3, 31)))
"""

from tests.calculation.bridge import portal_bridge
from tests.calculation.facts import calculate
from tests.calculation.metrics import Facts
from tests.calculation.portal import Portal
from tests.calculation.quality import data_quality
from tests.calculation.settings import Settings

__all__ = ["Facts", "Portal", "Settings", "calculate", "data_quality", "portal_bridge"]
