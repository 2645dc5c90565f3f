"""The agents actor: it owns definitions, executions with their ends, and conversations.

In:  requests ``cb.*.agents.*``, ``cb.*.executions.*``, ``cb.*.streams.read`` and
     ``cb.*.conversations.*`` with their ``submit`` forms; commands ``_cb.cmd.execution.*``;
     stored records ``cb.*.record.*``; the terms of tenants, from bucket ``terms``
Out: work ``_cb.work.generate.*``, terminal events ``cb.*.stream.*``, records ``cb.*.record.*``,
     facts ``cb.*.events.execution.*`` and ``cb.*.events.agent.*``, turns ``_cb.conversation.>``
"""
