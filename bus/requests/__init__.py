"""Requests and their answers, asked by users and by members of the fleet.

``service``      public commands and questions, answered after the commit
``caller``       the principal of a request, and in whose name owners are commanded
``rpc``          asking the owner of an entity until it answers
``ask_all``      asking all processes at once and gathering their answers
``reader``       reading a stream together with other processes, each message at least once
``events``       following stored facts so from a moment on
``submissions``  submitted commands: durable, unanswered, handled once
``inboxes``      the streams in which submitted commands of each tenant lie
``dead_letters`` where what could not be handled is stored, within the size of a message
"""
