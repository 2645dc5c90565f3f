"""Large bodies by reference: stored before the commit that names them, removed with their entity.

``names``  how a body is named: which entity it belongs to, and its hash. Pure
``store``  storing, reading and removing bodies, on any store of blobs
"""

from bus.bodies.names import BodyName, Holder, holder_of
from bus.bodies.store import Bodies

__all__ = ["Bodies", "BodyName", "Holder", "holder_of"]
