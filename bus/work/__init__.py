"""Items of work, from the owner that has them done to the worker that does them.

``errands``   workers as they are known, the items they are given, and by whom
``registry``  the workers that an owner's process knows, and the items that each was given
``waiting``   the items for which no worker has room, by queue and tenant; pure
``grants``    a worker's offer endpoint, and the places that it grants to items that wait
``worker``    doing items: claims, cancellation, results that are reported until committed
``inventory`` what a worker holds, asked by the new owner of a shard
"""
