"""A process of the fleet, from its start to its drained end.

``process``      its settings, its bus, its place among the others, its parts
``supervision``  its parts are run, restarted within a budget and drained on SIGTERM
``health``       the HTTP listener for metrics and probes
``quota_report`` how full the quotas of each tenant are, over all processes
"""
