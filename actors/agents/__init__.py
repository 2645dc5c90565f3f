"""The agents actor: it owns definitions, executions, their streams' terminal events and conversations.

In:  requests ``cb.*.agents.*``, ``cb.*.executions.*``, ``cb.*.streams.read``, ``cb.*.conversations.*``
     and their ``submit`` forms; commands ``_cb.cmd.execution.*``; stored records ``cb.*.record.*``
Out: work ``_cb.work.generate.*``, terminal events ``cb.*.stream.*``, facts ``cb.*.events.execution.*``
     and ``cb.*.events.agent.*``, records ``cb.*.record.*``, turns ``_cb.conversation.>``
"""
