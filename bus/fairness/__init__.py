"""Sharing a process among tenants: nobody is crowded out, and nothing grows without bound.

``line``       what waits, by tenant, in the order in which the tenants' turns come
``turns``      who begins next: the tenant with the fewest running
``places``     the places of a worker, and for whom those that are free are kept
``in_flight``  what was taken and is not answered yet, counted and in bytes
``turnstile``  the same for calls that wait by themselves
``quotas``     what each tenant may use, as the operator has it
``share``      what is stored of one tenant in a stream that all tenants share
"""

from bus.fairness.in_flight import InFlight
from bus.fairness.line import TenantLine
from bus.fairness.places import Places, Promise, Wish
from bus.fairness.quotas import Quotas, QuotaTerms, exceeded
from bus.fairness.share import Share
from bus.fairness.turns import Turns, reserved_of
from bus.fairness.turnstile import Turnstile

__all__ = [
    "InFlight",
    "Places",
    "Promise",
    "QuotaTerms",
    "Quotas",
    "Share",
    "TenantLine",
    "Turns",
    "Turnstile",
    "Wish",
    "exceeded",
    "reserved_of",
]
