"""What is stored, and how it comes to stand on the server.

``spec``       the streams as data: filters, limits and promises of each
``api``        requests to JetStream and its answers
``provision``  making what is missing, reporting what differs
"""
