"""The workflow actor: it keeps definitions and runs their instances, nets whose tokens carry data.

In:  requests ``cb.*.workflows.*`` with their ``submit`` forms; commands ``_cb.cmd.workflow.*`` and
     ``_cb.cmd.trigger.*``; the ends of what instances have begun
Out: work in the queues ``begin`` and ``http``, events ``cb.*.stream.*``, records and turns
     ``cb.*.record.workflow.>``, facts ``cb.*.events.workflow.*``, and what nets publish
"""
