"""What may be done, and where secrets and connections may go.

``permissions`` the accounts and users of a nats-server, derived from the table of public messages
``secrets``     keys of providers, read in the process that uses them
``hosts``       which hosts a secret may be sent to
``egress``      where the fleet may connect at a user's wish
"""
