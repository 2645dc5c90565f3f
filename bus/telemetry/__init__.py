"""What a process tells about itself: logs, traces and metrics.

``setup``      turns all of it on, once a process
``context``    what the running task works for; every log line and span carries it
``logs``       structured log lines, from which secrets and texts are taken out
``traces``     spans of messages and model calls, and ``traceparent`` in and out
``metrics``    the table of all metrics, and the instruments
"""
